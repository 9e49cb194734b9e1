"""Files of data, plain or packed, opened with a limit to what they hold, and CSV files as rows of cells."""

import bz2
import csv
import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any

from memory_injections.errors import StudyError

# What a table may hold when it is unpacked: the rows of the worst one fit into 4 GB of memory.
LARGEST_TABLE = 256 * 2**20
csv.field_size_limit(LARGEST_TABLE)
# What packed files begin with: neither an address nor a name says for certain what a file is.
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
UNPACKERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
# What the readers of packed files raise for damaged ones, and for encrypted ones.
DAMAGE = (
    OSError, EOFError, ValueError, RuntimeError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip


@contextmanager
def open_unpacked(path: Path, name: str, most: int, member: str | None = None) -> Iterator[IO[bytes]]:
    """Open a file or, if it is packed with gzip, bzip2, xz or zip, what is in it.

    Of a zip archive, that is `member`, or else the only file. Raises `StudyError` for a file that is missing or
    damaged, or holds more than `most` bytes; `name` is what messages call it.
    """
    if not path.is_file():
        raise StudyError(f"{name} does not exist; correct the path in the config")
    with ExitStack() as stack:
        with _explain_damage(name):
            with path.open("rb") as file:
                start = file.read(max(map(len, (*ZIP, *UNPACKERS))))
            if member is not None or start.startswith(ZIP):
                archive = stack.enter_context(zipfile.ZipFile(path))
                unpacked: Any = archive.open(_choose_member(archive, name, member))
            else:
                unpack = next((unpack for magic, unpack in UNPACKERS.items() if start.startswith(magic)), open)
                unpacked = unpack(path, "rb")
        yield io.BufferedReader(_Bounded(stack.enter_context(unpacked), name, most))


def _choose_member(archive: zipfile.ZipFile, name: str, member: str | None) -> str:
    files = [info.filename for info in archive.infolist() if not info.is_dir()]
    # macOS adds a file of its own to each file.
    members = [file for file in files if not file.startswith("__MACOSX/")]
    if member is None and len(members) != 1:
        raise StudyError(
            f"{name} is a zip archive of {len(members)} files; give the one that is meant (of 2wikimultihop, "
            "as `member`)"
        )
    if member is not None and member not in files:
        raise StudyError(f"{name} has no file {member}; allowed as `member`: {', '.join(members)}")
    return member or members[0]


@contextmanager
def _explain_damage(name: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StudyError(f"{name} cannot be read ({reason}); if it is cut or damaged, get it again") from error


class _Bounded(io.RawIOBase):
    """The bytes of a file, up to a limit."""

    def __init__(self, file: IO[bytes], name: str, most: int) -> None:
        self._file, self._name, self._most, self._left = file, name, most, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _explain_damage(self._name):
            chunk = self._file.read(len(buffer))
        self._left -= len(chunk)
        if self._left < 0:
            raise StudyError(
                f"{self._name} holds more than {self._most // 2**20} MiB; check that it is the file that is meant"
            )
        buffer[: len(chunk)] = chunk
        return len(chunk)


def iterate_rows(path: Path, name: str, is_output: bool = False) -> Generator[tuple[int, list[str]]]:
    """Yield the heading and the rows of a CSV file, each with the number of the line that it ends in, from 1.

    Cells are as they are written, blanks included; blank lines are left out. Raises `StudyError` for what
    `open_unpacked` refuses, for text that is not UTF-8, for a heading that is missing or given twice, for quotes that
    do not match, for a row that is shorter or longer than the heading and, unless a job of the study wrote the file
    (`is_output`), for a cell that looks like rows between stray quotes.
    """
    heading: list[str] = []
    for line, cells in _parse(path, name):
        if not any(cell.strip() for cell in cells) and len(cells) < max(2, len(heading)):
            continue
        if not heading:
            heading = cells
            if twice := [column for column in heading if column and heading.count(column) > 1]:
                raise StudyError(f"{name} has two columns {twice[0]!r}; remove or rename one of them")
        else:
            where = f"{name} is not a CSV table: the row that ends in line {line}"
            if len(cells) != len(heading):
                raise StudyError(
                    f"{where} has {len(cells)} cells, and the heading has {len(heading)}; repair it (a cell with a "
                    "comma in it stands in quotes)"
                )
            if not is_output:
                _check_cells(cells, len(heading), where)
        yield line, cells
    if not heading:
        raise StudyError(f"{name} is empty; give a CSV table with a heading")


def read_heading(path: Path, name: str) -> list[str]:
    """Return the heading of a CSV file; raise `StudyError` if it has none."""
    with closing(iterate_rows(path, name)) as rows:
        return next(rows)[1]


def _parse(path: Path, name: str) -> Iterator[tuple[int, list[str]]]:
    n_quotes = 0

    def count_quotes(lines: Iterable[str]) -> Iterator[str]:
        nonlocal n_quotes
        for line in lines:
            n_quotes += line.count('"')
            yield line

    with open_unpacked(path, name, LARGEST_TABLE) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        reader = csv.reader(count_quotes(text), strict=True)
        try:
            for cells in reader:
                if n_quotes % 2:
                    raise csv.Error("a quote without another")
                yield reader.line_num, cells
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise StudyError(f"{name} is not a CSV table in UTF-8 (byte {byte:#04x}); save it as UTF-8") from error
        except csv.Error as error:
            raise StudyError(
                f"{name} is not a CSV table (line {reader.line_num}: {error}); repair the quotes up to there: a cell "
                "has one at both ends or none, and one within it is doubled"
            ) from error


def _check_cells(cells: Sequence[str], n_columns: int, where: str) -> None:
    """Raise `StudyError` for a row that has swallowed others."""
    for column, cell in enumerate(cells):
        if "\n" in cell or "\r" in cell:
            lines = re.split(r"\r\n|\r|\n", cell)
            # What stands between two stray quotes: the end of a row, whole rows, and the beginning of another.
            swallowed = [n_columns - 1 - column, *[n_columns - 1] * (len(lines) - 2), column]
            if n_columns > 1 and [line.count(",") for line in lines] == swallowed:
                raise StudyError(f"{where} has a cell that holds {len(lines)} rows; remove the quotes around them")
