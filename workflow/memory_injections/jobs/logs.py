"""A job's log: a file, and standard error."""

import logging
from pathlib import Path

from memory_injections.errors import make_printable


class PrintableFormatter(logging.Formatter):
    """Formats records so that a terminal only shows them: names and texts of others cannot steer it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record on one or several lines."""
        return make_printable(super().format(record), keep="\n\t")


def start_log(path: str | Path) -> None:
    """Send the process's log records, and warnings, to a file and to standard error."""
    handlers: list[logging.Handler] = [logging.FileHandler(path, mode="w", encoding="utf-8"), logging.StreamHandler()]
    for handler in handlers:
        handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    # Where the log's disk is full, what the screen shows is the message, not tracebacks of the log's own.
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.captureWarnings(True)
