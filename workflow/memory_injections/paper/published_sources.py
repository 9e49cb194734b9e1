"""Sources of the authors' published results: a commit of their repository, or a local copy of it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from memory_injections.download.git import fetch_commit
from memory_injections.errors import StudyError
from memory_injections.terms import WHERE, Commit, GitRepository, LocalPath, Section

CURATED_RESULTS = "experiments/tweak_factor_analysis"
RANDOM_RESULTS = "experiments/part_of_speech_tweak_factor_injections/pos_results"
# Some forty words, each injected at one site.
WORD_RESULTS = "experiments/fake_injections"


class PublishedCommit(Section):
    """The authors' published results, from a commit of their repository."""

    source: Literal["git"]
    repo: GitRepository = Field(description="address of the git repository (http or https), or a path")
    commit: Commit = Field(description="full hash of the commit")

    @property
    def local_root(self) -> None:
        """None, because the results have to be fetched."""

    def local_files(self) -> list[str]:
        """Return nothing: the commit identifies the files."""
        return []

    def fetch(self, folder: Path) -> None:
        """Fill an empty folder with the results alone; raises `StudyError` if they cannot be fetched."""
        fetch_commit(self.repo, self.commit, [CURATED_RESULTS, RANDOM_RESULTS, WORD_RESULTS], folder)


class PublishedFolder(Section):
    """The authors' published results, from a copy of their repository on this machine."""

    source: Literal["folder"]
    path: LocalPath = Field(description="the root of the copy; " + WHERE)

    @property
    def local_root(self) -> Path:
        """The root of the copy."""
        return Path(self.path)

    def local_files(self) -> list[str]:
        """List the results' files."""
        return list_result_files(self.local_root / "experiments")


Published = Annotated[PublishedCommit | PublishedFolder, Field(discriminator="source")]


def check_published_folder(source: PublishedCommit | PublishedFolder) -> None:
    """Raise `StudyError` if a local copy does not exist."""
    if source.local_root is not None and not source.local_root.is_dir():
        raise StudyError(f"folder {source.local_root} does not exist; correct the path")


def list_result_files(folder: Path) -> list[str]:
    """List the files of the authors' results below a folder."""
    return sorted(str(path) for path in folder.rglob("*.csv"))
