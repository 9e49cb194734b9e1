"""Errors that the user can correct. The message of each is one sentence that says what, where and what to do."""

from collections.abc import Iterable
from pathlib import Path


def make_printable(text: str, keep: str = "") -> str:
    """Return a text that a terminal only shows: what does not print, or steers a terminal, becomes an escape.

    Characters in `keep` stay as they are.
    """
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode() for sign in text
    )


class StudyError(Exception):
    """Bad input: the message is one printable sentence that names the file or key and the remedy."""

    def __init__(self, sentence: str) -> None:
        super().__init__(make_printable(sentence))


class UnknownNameError(StudyError, KeyError):
    """A name that nothing is registered by."""

    def __init__(self, kind: str, name: str, allowed: Iterable[str]) -> None:
        super().__init__(f"{kind} {name!r} is unknown; use one of {', '.join(allowed)}")
        self.kind, self.name = kind, name

    __str__ = Exception.__str__  # of a KeyError, Python shows the message in quotes


class DeclarationError(StudyError):
    """Something that cannot be registered by its name."""


class ExtensionError(StudyError):
    """An installed package whose additions cannot be imported, or are not valid."""

    def __init__(self, package: str, entry_point: str, error: Exception) -> None:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        super().__init__(
            f"the installed package {package} does not load ({reason}); correct what its entry point {entry_point} "
            "names, or uninstall it"
        )
        self.package = package


class LayerError(StudyError):
    """A layer that the model does not have."""

    def __init__(self, layer: int, n_layers: int) -> None:
        super().__init__(f"layer {layer} is out of range; the model has {n_layers} layers: 0 to {n_layers - 1}")
        self.layer, self.n_layers = layer, n_layers


class ControlLayerError(LayerError):
    """A layer of a control's site that the model does not have."""


class OverflowingInjectionError(StudyError):
    """An injection so large that the model's arithmetic gives no finite logits."""

    def __init__(self, layer: int, magnitude: float) -> None:
        super().__init__(
            f"magnitude {magnitude:g} at layer {layer} overflows the model's arithmetic; use a smaller one"
        )
        self.layer, self.magnitude = layer, magnitude


class TooManyShardsError(StudyError):
    """More jobs than layers to share out among them."""

    def __init__(self, shards: int, n_layers: int) -> None:
        super().__init__(f"{shards} jobs cannot share out {n_layers} layers; use {n_layers} or less")
        self.shards, self.n_layers = shards, n_layers


class ChangedFileError(StudyError):
    """A file that is no longer what the study knows it as."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"file {path} changed while the study ran; leave it alone and run the same command again, "
            "which reads it anew"
        )
        self.path = path


class DamagedFileError(StudyError):
    """A file whose contents are not those that its job wrote."""

    def __init__(self, path: Path, reason: str = "its contents are not those that its job wrote") -> None:
        super().__init__(f"file {path} is damaged ({reason}); make it again")
        self.path, self.reason = path, reason


class UnknownWordsError(StudyError):
    """A kind of random memory that the word list has no column for."""

    def __init__(self, memories: str, allowed: list[str]) -> None:
        super().__init__(f"the word list has no column {memories!r}; allowed: {', '.join(allowed)}")
        self.memories, self.allowed = memories, allowed


class UnsupportedArchitectureError(StudyError):
    """A model of an architecture that memories cannot be injected into."""

    def __init__(self, architecture: str, reason: str) -> None:
        super().__init__(f"architecture {architecture} is not supported because {reason}; use another model")
        self.architecture = architecture
