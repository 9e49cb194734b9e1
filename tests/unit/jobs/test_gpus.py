"""Parallel jobs on one host hold different devices, and release them however they end."""

import multiprocessing
import time
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from memory_injections.errors import StudyError
from memory_injections.jobs import gpus
from memory_injections.jobs.gpus import (
    CONTEXT_BYTES,
    SHARES,
    WORKING_BYTES,
    count_shares,
    reserve_devices,
    reserve_shares,
)
from memory_injections.models.limits import GPU_MEMORY_VARIABLE, limit_gpu_memory


def hold(names: list[str], count: int, shares: int, folder: Path, told: Connection) -> None:
    with reserve_shares(names, count, shares, folder) as held:
        told.send(set(held))
        time.sleep(60)


class Job:
    """A separate process that holds shares of some devices and reports which; forked, to save importing PyTorch."""

    def __init__(self, folder: Path, count: int, shares: int = SHARES) -> None:
        processes = multiprocessing.get_context("fork")
        self.told, telling = processes.Pipe(duplex=False)
        self.process = processes.Process(
            target=hold, args=(["a", "b", "c"], count, shares, folder, telling), daemon=True
        )
        self.process.start()

    def held(self) -> set[int]:
        assert self.told.poll(30)
        return self.told.recv()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def test_jobs_hold_different_devices_and_the_next_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.1)
    jobs = [Job(tmp_path, 2), Job(tmp_path, 1)]
    try:
        taken = [job.held() for job in jobs]
        assert [len(devices) for devices in taken] == [2, 1]
        assert taken[0] | taken[1] == {0, 1, 2}
        jobs.append(Job(tmp_path, 2))
        assert not jobs[2].told.poll(1)
        assert jobs[2].process.is_alive()
        jobs[0].kill()
        assert jobs[2].held() == taken[0]
    finally:
        for job in jobs:
            job.kill()


def test_jobs_share_a_device_up_to_its_memory_and_take_the_emptiest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.1)
    jobs = [Job(tmp_path, 1, SHARES // 2)]
    try:
        taken = [jobs[0].held()]
        for _ in range(5):
            jobs.append(Job(tmp_path, 1, SHARES // 2))
            taken.append(jobs[-1].held())
        assert sorted(map(tuple, taken[:3])) == sorted(map(tuple, taken[3:])) == [(0,), (1,), (2,)]
        jobs.append(Job(tmp_path, 1, 1))
        assert not jobs[-1].told.poll(1)
        jobs[4].kill()
        assert jobs[-1].held() == taken[4]
    finally:
        for job in jobs:
            job.kill()


def test_shares_hold_the_model_and_a_batch() -> None:
    beside = WORKING_BYTES + CONTEXT_BYTES
    for n_bytes in (1, 10**9, 10**10, 5 * 10**10):
        for gpu in (12 * 10**9, 4 * 10**10, 15 * 10**10):
            shares = count_shares(n_bytes, gpu)
            assert 1 <= shares <= SHARES
            assert shares == SHARES or shares * gpu / SHARES >= n_bytes + beside


def test_a_device_is_free_again_after_an_exception(tmp_path: Path) -> None:
    def fail() -> None:
        with reserve_shares(["a"], 1, SHARES, tmp_path):
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    with reserve_shares(["a"], 1, SHARES, tmp_path) as held:
        assert held == [0]


def test_without_gpus_jobs_compute_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus.torch.cuda, "device_count", lambda: 0)
    with reserve_devices(10**12) as held:
        assert held == [torch.device("cpu")]


class Gpu:
    """A GPU with 100 MB."""

    total_memory, uuid, name = 10**8, "made-up", "made-up"


@pytest.mark.parametrize(("limit", "n_gpus"), [(None, 1), ("1000", 1), ("100", 1), ("50", 2)])
def test_a_job_takes_no_more_of_a_gpu_than_it_may(
    limit: str | None, n_gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(gpus.torch.cuda, "get_device_properties", lambda index: Gpu)
    monkeypatch.setattr(gpus.torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(gpus, "reserve_shares", lambda names, count, shares: nullcontext(list(range(count))))
    if limit:
        monkeypatch.setenv(GPU_MEMORY_VARIABLE, limit)
    with reserve_devices(7 * 10**7) as held:
        assert held == [torch.device("cuda", index) for index in range(n_gpus)]


@pytest.mark.parametrize("limit", ["0", "-3", "many", "1.5"])
def test_a_limit_that_is_no_number_is_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU_MEMORY_VARIABLE, limit)
    with pytest.raises(StudyError, match=f"{GPU_MEMORY_VARIABLE}={limit} is no number of MB"):
        limit_gpu_memory(10**9)
