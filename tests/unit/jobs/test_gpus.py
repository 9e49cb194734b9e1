"""Jobs side by side on one host hold different devices, and let go of them however they end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from memory_injections.jobs import gpus as devices
from memory_injections.jobs.gpus import devices_for, leased

HOLD = """
import sys, time
from pathlib import Path
from memory_injections.jobs.gpus import leased
with leased(["a", "b", "c"], int(sys.argv[2]), Path(sys.argv[1])) as held:
    print(*held, flush=True)
    time.sleep(60)
"""


def hold(folder: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLD, str(folder), str(count)], stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> set[int]:
    assert process.stdout is not None
    return {int(index) for index in process.stdout.readline().split()}


def test_jobs_hold_different_devices_and_the_next_waits_for_one(tmp_path: Path) -> None:
    first, second = hold(tmp_path, 2), hold(tmp_path, 1)
    third = None
    try:
        taken = line_of(first), line_of(second)
        assert taken[0] | taken[1] == {0, 1, 2}
        third = hold(tmp_path, 2)
        time.sleep(3)
        assert third.poll() is None
        first.send_signal(signal.SIGKILL)
        assert line_of(third) == taken[0]
    finally:
        for process in filter(None, (first, second, third)):
            process.kill()
            process.communicate()


def test_a_device_is_free_again_after_an_exception(tmp_path: Path) -> None:
    def fail() -> None:
        with leased(["a"], 1, tmp_path):
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    with leased(["a"], 1, tmp_path) as held:
        assert held == [0]


def test_without_gpus_jobs_compute_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 0)
    with devices_for(10**12) as held:
        assert held == [torch.device("cpu")]
