"""A job notices that its code was edited after the run was planned."""

import shutil
from pathlib import Path

import pytest
from memory_injections.data.sources import UrlDataset
from memory_injections.errors import ChangedFileError
from memory_injections.jobs import code
from memory_injections.jobs.code import check_code, describe_code_status, digest_named, name_class

NAMES = ("scripts/inject.py", "figures.maps.effect", name_class(UrlDataset))


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workflow's code, in place of the code itself."""
    folder = tmp_path / "workflow"
    for part in ("memory_injections", "scripts"):
        shutil.copytree(code.WORKFLOW / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "WORKFLOW", folder)
    monkeypatch.setattr(code, "PACKAGE", folder / "memory_injections")
    monkeypatch.setattr("memory_injections.jobs.digest.PACKAGE", folder / "memory_injections")
    return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_an_edit_is_noticed_and_a_comment_is_none(workflow: Path) -> None:
    planned, status = {name: digest_named(name) for name in NAMES}, describe_code_status()
    check_code(planned, status)
    edit(workflow / "scripts" / "inject.py", "from _job", "# More.\nfrom _job")
    assert describe_code_status() != status
    check_code(planned, status)
    edit(workflow / "memory_injections" / "injection" / "cell_computer.py", "log_softmax", "softmax")
    with pytest.raises(ChangedFileError, match=r"workflow/scripts/inject\.py changed while the study ran"):
        check_code(planned, status)
    del planned["scripts/inject.py"]  # the others do not use it
    check_code(planned, status)


def test_files_of_the_status_of_then_are_not_read(workflow: Path) -> None:
    status = describe_code_status()
    check_code({"scripts/inject.py": "another digest"}, status)
    for other in (None, "another status"):
        with pytest.raises(ChangedFileError):
            check_code({"scripts/inject.py": "another digest"}, other)


def test_a_script_that_is_in_no_folder_is_not_looked_at(workflow: Path) -> None:
    check_code({"scripts/from_a_url.py": "a digest"}, None)
