"""Memory injections into language models (Sakarvadia et al. 2023, arXiv 2309.05605): the library of this study.

`Injector` and `injecting` are the Python API (docs/api.md). The packages, in the order of the data, are in
docs/architecture.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memory_injections.injection.hooked_engine import injecting
    from memory_injections.interactive.injector import Injector

__all__ = ["Injector", "injecting"]

_MODULES = {"Injector": "interactive.injector", "injecting": "injection.hooked_engine"}


def __getattr__(name: str) -> Any:
    """Import the API, and PyTorch with it, when it is first used: the workflow's own process needs neither."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
