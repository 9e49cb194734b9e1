"""One model stays loaded, and one thread works with it."""

import asyncio
import threading
from pathlib import Path

import pytest
from memory_injections import Injector
from memory_injections.errors import StudyError
from memory_injections.playground.page import KeptModel

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_model_stays_until_another_is_asked_for(injector: Injector, tiny_models: dict[str, Path]) -> None:
    loaded = KeptModel("first", injector)
    assert loaded.find("first") is injector
    for name, sentence in (("", "the model has no name; give an entry"), ("no such thing", "is no folder here")):
        with pytest.raises(StudyError, match=sentence):
            loaded.find(name)
    assert loaded.find("first") is injector
    other = loaded.find(str(tiny_models["llama"]))
    assert other is not injector
    assert loaded.find(str(tiny_models["llama"])) is other


def test_work_is_done_in_turn_by_one_thread(injector: Injector) -> None:
    loaded, running, threads = KeptModel("first", injector), threading.Lock(), set()

    def work(number: int) -> int:
        assert running.acquire(blocking=False)
        threads.add(threading.get_ident())
        running.release()
        return number

    async def ask() -> list[int]:
        return await asyncio.gather(*(loaded.run(work, number) for number in range(20)))

    assert asyncio.run(ask()) == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads
