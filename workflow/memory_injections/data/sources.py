"""Sources of prompt pairs and word lists. Each class knows its config keys, how to read its data, and its local files.

To add a source, define another subclass of `DataSource`, here or in an installed package (`registry`). Config, schema,
key table and workflow find it.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from memory_injections.data.columns import ColumnSource
from memory_injections.errors import StudyError
from memory_injections.registry import load_extensions
from memory_injections.terms import WHERE, Commit, Count, GitRepository, Index, LocalPath, Section, Sha256, is_commit

if TYPE_CHECKING:
    import pandas as pd

# Modules that read and download are imported only where they are used: checking a config must stay fast.


class _Source(Section):
    @property
    def file_name(self) -> str | None:
        """The name of the file that holds the data, if there is one."""
        return None

    @property
    def is_pinned(self) -> bool:
        """Whether the config fixes the data's contents, by a commit or a checksum."""
        return False

    def local_files(self) -> list[str]:
        """List the local files that the data depend on."""
        return []


class DataSource(_Source, ABC):
    """A source of prompt pairs. Its config key `source` names it."""

    blanks: Literal["strip", "keep"] = Field(
        default="strip",
        description="what becomes of blanks and other invisible characters at the end of a prompt, and at both ends of "
        "an answer or a memory; `keep` leaves texts as they are written",
    )

    @abstractmethod
    def read_pairs(self) -> "pd.DataFrame":
        """Return the prompt pairs in the study's form; raise `StudyError` if they cannot be read."""

    @property
    def n_rows(self) -> int | None:
        """The largest possible number of prompt pairs; None if it is not known before the data are read."""
        return None


class _Table(DataSource):
    columns: dict[str, ColumnSource] = Field(
        default={},
        description="our names of columns, and what each is made of: the name of a column or field of the data, text "
        'with such names in braces, or `{text, replace}`: `{memory: entity, explicit_prompt: "{entity} lives in"}`',
    )
    lengths: dict[str, Count] = Field(
        default={},
        description="the only rows to use: those whose list in a column or field has so many entries, `{hops: 2}`",
    )
    incomplete: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="what becomes of a row that lacks one of the four texts or its cluster: `refuse` the data set, or "
        "`skip` the row; the log says how many",
    )
    rows: Count | None = Field(default=None, description="how many rows to use, from the first on; all by default")
    cluster: str | None = Field(
        default=None,
        min_length=1,
        description="the column whose equal values make a cluster of prompts, such as `relation`; by default the "
        "memory, or the last hop of data made of few relations",
    )

    @property
    def n_rows(self) -> int | None:
        return self.rows

    @model_validator(mode="after")
    def _columns_are_renamed_once(self) -> "_Table":
        renamed = [theirs for theirs in self.columns.values() if isinstance(theirs, str)]
        if len(set(renamed)) < len(renamed):
            raise ValueError("columns: two names of ours stand for one column of the data; give each its own")
        return self

    def _normalise(self, table: "pd.DataFrame", name: str) -> "pd.DataFrame":
        """Bring a table as it was read into the study's form; a row's number stays that of the data."""
        from memory_injections.data.answers import ALIASES
        from memory_injections.data.columns import count_entries, map_columns, write_texts
        from memory_injections.data.prompt_pairs import normalise_pairs

        table = table.head(self._first_rows)
        for field, length in self.lengths.items():
            table = table[[entries == length for entries in count_entries(table, field, name)]]
        skip = self.incomplete == "skip"
        texts = write_texts(map_columns(table, self.columns, ALIASES, name, skip), ALIASES, name)
        return normalise_pairs(texts, name, self.rows, self.cluster, skip)

    @property
    def _first_rows(self) -> int | None:
        """How many rows of the data hold all that are used; None if that is not known."""
        return None if self.lengths or self.incomplete == "skip" else self.rows

    def _read_file(self, path: Path, name: str) -> "pd.DataFrame":
        from memory_injections.data.text_tables import read_table

        return self._normalise(read_table(path, name), name)


class HuggingFaceDataset(_Table):
    """A data set repository on the Hugging Face hub: a file of it, or a split of its Parquet, JSON or CSV files."""

    source: Literal["huggingface"]
    repo: str = Field(min_length=1, description="`owner/name` on the hub")
    file: str | None = Field(default=None, min_length=1, description="the CSV, JSON or Parquet file in the repository")
    split: str | None = Field(default=None, min_length=1, description="or the split, such as `test`")
    config: str | None = Field(
        default=None, min_length=1, description="with `split`: the configuration, if the repository has several"
    )
    revision: str = Field(default="main", description="branch, tag or commit")

    @model_validator(mode="after")
    def _one_table(self) -> "HuggingFaceDataset":
        if (self.file is None) == (self.split is None) or (self.config is not None and self.split is None):
            raise ValueError("give `file`, or `split` with or without `config`")
        return self

    @property
    def file_name(self) -> str | None:
        return Path(self.file).name if self.file else None

    @property
    def is_pinned(self) -> bool:
        return is_commit(self.revision)

    def read_pairs(self) -> "pd.DataFrame":
        from memory_injections.data.hub_tables import read_hub_file, read_hub_split

        if self.file:
            return self._normalise(read_hub_file(self.repo, self.revision, self.file), f"{self.file} of {self.repo}")
        table = read_hub_split(self.repo, self.revision, self.config, str(self.split), self._first_rows)
        return self._normalise(table, f"split {self.split} of {self.repo}")


class UrlFile(_Source):
    """A CSV file at an address, pinned by its checksum."""

    source: Literal["url"]
    url: str = Field(pattern=r"^https?://", description="address of the file")
    sha256: Sha256 = Field(description="checksum of the file")

    @property
    def file_name(self) -> str:
        return Path(self.url).name

    @property
    def is_pinned(self) -> bool:
        return True

    def fetch(self, folder: Path) -> Path:
        """Download the file into a folder; raise `StudyError` if that fails or the checksum is wrong."""
        from memory_injections.download.http import download_url

        return download_url(self.url, self.sha256, folder)


class UrlDataset(UrlFile, _Table):
    """A CSV, JSON, JSON Lines or Parquet file at an address, pinned by its checksum."""

    def read_pairs(self) -> "pd.DataFrame":
        with TemporaryDirectory() as folder:
            return self._read_file(self.fetch(Path(folder)), self.url)


class LocalFile(_Source):
    """A CSV file on this machine."""

    source: Literal["file"]
    path: LocalPath = Field(description="the file; " + WHERE)

    @property
    def file_name(self) -> str:
        return Path(self.path).name

    def local_files(self) -> list[str]:
        return [self.path]

    def fetch(self, folder: Path) -> Path:
        """Return the file in its place; nothing is copied."""
        return Path(self.path)


class FileDataset(LocalFile, _Table):
    """A CSV, JSON, JSON Lines or Parquet file on this machine."""

    def read_pairs(self) -> "pd.DataFrame":
        return self._read_file(Path(self.path), f"file {self.path}")


class GitDataset(_Table):
    """A CSV, JSON, JSON Lines or Parquet file in a git repository, pinned by its commit."""

    source: Literal["git"]
    repo: GitRepository = Field(description="address of the git repository (http or https), or a path")
    commit: Commit = Field(description="full hash of the commit")
    file: str = Field(min_length=1, description="the file in the repository")

    @property
    def file_name(self) -> str:
        return Path(self.file).name

    @property
    def is_pinned(self) -> bool:
        return True

    def read_pairs(self) -> "pd.DataFrame":
        from memory_injections.download.git import fetch_commit

        with TemporaryDirectory() as folder:
            fetch_commit(self.repo, self.commit, [self.file], Path(folder))
            path = Path(folder) / self.file
            if not path.is_file():
                raise StudyError(f"commit {self.commit} of {self.repo} lacks the file {self.file}; correct `file`")
            return self._read_file(path, f"{self.file} of {self.repo}")


class TwoWikiDataset(DataSource):
    """Prompt pairs made from 2WikiMultiHopQA's records: a JSON list, JSON Lines or Parquet file, or one in a zip."""

    source: Literal["2wikimultihop"]
    path: LocalPath | None = Field(default=None, description="the file, on this machine")
    url: str | None = Field(default=None, pattern=r"^https?://", description="or its address")
    sha256: Sha256 | None = Field(default=None, description="with `url`: checksum of the file")
    member: str | None = Field(default=None, min_length=1, description="if the file is a zip archive: the file in it")
    size: Count = Field(description="how many prompt pairs to draw")
    seed: Index = Field(default=0, description="which ones; a smaller sample is the beginning of a larger one")

    @model_validator(mode="after")
    def _one_place(self) -> "TwoWikiDataset":
        places = [name for name in ("path", "url", "sha256") if getattr(self, name) is not None]
        if places not in (["path"], ["url", "sha256"]):
            raise ValueError("give `path`, or `url` with `sha256`")
        return self

    @property
    def n_rows(self) -> int:
        return self.size

    @property
    def is_pinned(self) -> bool:
        return self.path is None

    def local_files(self) -> list[str]:
        return [self.path] if self.path else []

    def read_pairs(self) -> "pd.DataFrame":
        from memory_injections.data.prompt_pairs import normalise_pairs
        from memory_injections.data.text_tables import read_records
        from memory_injections.data.two_wiki import FIELDS, list_pairs, sample_pairs
        from memory_injections.download.http import download_url

        with TemporaryDirectory() as folder:
            if self.path:
                file, name = Path(self.path), f"file {self.path}"
            else:
                file, name = download_url(str(self.url), str(self.sha256), Path(folder)), str(self.url)
            pairs = list_pairs(read_records(file, name, FIELDS, self.member), name)
        return normalise_pairs(sample_pairs(pairs, self.size, self.seed, name), name)


def list_data_sources(of: type[DataSource] = DataSource) -> list[type[DataSource]]:
    """List every source that a config can name, in the order of definition, those of installed extensions last."""
    load_extensions()
    found = []
    for source in of.__subclasses__():
        found += [source] if "source" in source.model_fields else list_data_sources(source)
    return found


Words = Annotated[UrlFile | LocalFile, Field(discriminator="source")]


def check_local_files(source: DataSource | UrlFile | LocalFile) -> None:
    """Raise `StudyError` for the first local file of a source that does not exist."""
    for path in source.local_files():
        if not Path(path).is_file():
            raise StudyError(f"file {path} does not exist; correct the path")
