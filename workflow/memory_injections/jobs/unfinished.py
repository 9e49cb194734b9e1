"""Finished parts of a job that is not finished yet: an interrupted job goes on where it was."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from memory_injections.atomic_files import replace_file
from memory_injections.checksums import (
    hash_contents,
    hash_lines,
    is_intact,
    locate_checksum,
    read_checksum,
    write_checksum,
)

logger = logging.getLogger(__name__)


class UnfinishedParts:
    """Tables that a job has finished, in a folder of their own until the whole job is.

    `inputs` and `settings` are everything that the tables depend on; with others there are none yet.
    """

    def __init__(self, folder: Path, inputs: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        identity = json.dumps(settings, sort_keys=True, default=str)
        self._folder = folder / hash_lines([identity, *(f"{name} {_hash(inputs[name])}" for name in sorted(inputs))])

    def keep(self, name: str, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the part with a name: from disk if it is there, else measured and put there."""
        path = self._folder / f"{name}.parquet"
        if is_intact(path):
            logger.info("%s: from an earlier run", name)
            return pd.read_parquet(path)
        table = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            table.to_parquet(temporary, index=False)
        write_checksum(path)
        return table

    def discard(self) -> None:
        """Remove the parts of a job whose results are written."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):  # no job has kept one there
            os.removedirs(self._folder.parent)


def _hash(path: Path) -> str:
    return read_checksum(path) if locate_checksum(path).is_file() else hash_contents(path)
