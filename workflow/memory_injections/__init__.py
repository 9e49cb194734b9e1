"""Memory injections (Sakarvadia et al. 2023, arXiv 2309.05605): the library."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hooks import injecting
    from .injector import Injector

__all__ = ["Injector", "injecting"]

_MODULES = {"Injector": "injector", "injecting": "hooks"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and PyTorch with it, only then: the workflow's own process needs neither."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
