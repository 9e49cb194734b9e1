"""A job's log, in a file and on standard error, and telling a full disk from other errors."""

import errno
import logging
import os
from pathlib import Path

from memory_injections.errors import make_printable

# What a full disk and a full quota are called by the system.
FULL = (errno.ENOSPC, errno.EDQUOT)


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
    for chatty in ("httpx2", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one that it followed from, means that a disk or a quota is full.

    Libraries that are not written in Python put the system's message into errors of their own.
    """
    messages = [os.strerror(number) for number in FULL]
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) in FULL or any(message in str(cause) for message in messages):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
