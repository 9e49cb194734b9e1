"""Fetching the authors' results from a commit of their repository, or from a local copy."""

import subprocess
from pathlib import Path

import pytest
from authors_files import write_authors_files
from memory_injections.download.git import fetch_commit
from memory_injections.errors import StudyError
from memory_injections.paper.published import find_sweeps
from memory_injections.paper.published_sources import PublishedCommit, PublishedFolder, check_published_folder
from memory_injections.paper.word_files import find_word_files
from pydantic import ValidationError


def test_results_come_from_a_commit(tmp_path: Path) -> None:
    repository = write_authors_files(tmp_path / "repository")
    (repository / "large.bin").write_bytes(b"not a result")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (
        ["init", "--quiet"], ["config", "uploadpack.allowFilter", "true"],
        ["config", "uploadpack.allowAnySHA1InWant", "true"], ["add", "."],
        [*identity, "commit", "--quiet", "-m", "results"], [*identity, "commit", "--quiet", "--allow-empty", "-m", "b"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(repository), *arguments], check=True)
    log = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD~1"], text=True, capture_output=True)
    folder = tmp_path / "fetched"
    folder.mkdir()
    PublishedCommit(source="git", repo=str(repository), commit=log.stdout.strip()).fetch(folder)
    assert len(find_sweeps(folder)) == 2
    assert len(find_word_files(folder)) == 1
    assert not (folder / "large.bin").exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(StudyError, match=r"git cannot fetch commit 0{40} of .*check `repo`, `commit`"):
        PublishedCommit(source="git", repo=str(repository), commit=40 * "0").fetch(tmp_path / "other")


@pytest.mark.parametrize(
    "repo",
    [
        "ext::sh -c touch% ran",
        "--upload-pack=touch ran",
        "ssh://-oProxyCommand=touch/x",
        "git@example.org:a/b",
        "file:///a",
    ],
)
def test_an_address_that_git_might_run_is_refused(repo: str) -> None:
    with pytest.raises(ValidationError, match="repo"):
        PublishedCommit(source="git", repo=repo, commit=40 * "0")


def test_git_runs_no_program_and_follows_no_link(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"git cannot fetch commit .*transport 'ext' not allowed"):
        fetch_commit(f"ext::sh -c touch% {tmp_path}/ran", 40 * "0", ["experiments"], tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_copy_has_to_be_there(tmp_path: Path) -> None:
    check_published_folder(PublishedFolder(source="folder", path=str(tmp_path)))
    with pytest.raises(StudyError, match=r"folder .*/nowhere does not exist; correct the path"):
        check_published_folder(PublishedFolder(source="folder", path=str(tmp_path / "nowhere")))
