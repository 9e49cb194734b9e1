"""The model that the playground has loaded, and the one thread that works with it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from memory_injections.errors import StudyError
from memory_injections.interactive.injector import Injector

P = ParamSpec("P")
Result = TypeVar("Result")


class KeptModel:
    """Keeps one model loaded: the newest that a question named.

    Everything that computes runs in one thread, in turn, so that questions do not slow each other down and the page
    stays alive.
    """

    def __init__(self, name: str, injector: Injector) -> None:
        self.name, self._injector = name, injector
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def run(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call a function in the thread that works with the model, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*args, **kwargs))

    def find(self, name: str) -> Injector:
        """Return a model by name, loaded if it is not; raise `StudyError`, one sentence, if there is none."""
        if not name:
            raise StudyError(
                "the model has no name; give an entry of the default study, a local folder, or a repository on the hub"
            )
        if name != self.name:
            self._injector, self.name = Injector.load(name), name
        return self._injector
