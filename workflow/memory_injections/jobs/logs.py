"""A job's log: a file, and standard error."""

import logging
from pathlib import Path


def start_log(path: str | Path) -> None:
    """Send the process's log records, and warnings, to a file and to standard error."""
    handlers: list[logging.Handler] = [logging.FileHandler(path, mode="w", encoding="utf-8"), logging.StreamHandler()]
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers, force=True
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.captureWarnings(True)
