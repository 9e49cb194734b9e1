"""Ways to put other contents in a file's place, which file systems and their tools have."""

import os
import shutil
from pathlib import Path


def write_old(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))


def edit(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def move(path: Path, content: bytes) -> None:
    """As `mv` does within a file system: the other file keeps its inode and its dates, which are older."""
    write_old(path.with_name("other"), content)
    path.with_name("other").replace(path)


def copy_with_dates(path: Path, content: bytes) -> None:
    """As `cp -p` does: into the same inode, with older dates."""
    write_old(path.with_name("other"), content)
    shutil.copy2(path.with_name("other"), path)
    path.with_name("other").unlink()


def synchronise(path: Path, content: bytes) -> None:
    """As `rsync -a` does: a new inode beside it, older dates, renamed."""
    temporary = path.with_name(f".{path.name}.Xy12Zz")
    temporary.write_bytes(content)
    os.utime(temporary, (1e9, 1e9))
    temporary.replace(path)


def retarget(path: Path, content: bytes) -> None:
    """A symbolic link that leads to an older file now."""
    write_old(path.with_name(".other"), content)
    path.unlink()
    path.symlink_to(".other")


MEANS = [edit, move, copy_with_dates, synchronise, retarget]
