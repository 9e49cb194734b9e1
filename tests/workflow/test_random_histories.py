"""Whatever happens to a study, in any order, the one command ends in the results of a fresh run.

    HISTORIES=20 pytest tests/workflow/test_random_histories.py

goes through twenty random histories; without the variable there are three.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from checkout import Checkout
from faults import read_results
from small_study import COMPUTER, LIBRARY, list_differences, make_study, run_anew

STEPS = 4
CODE = {
    COMPUTER: ("logits.log_softmax", "logits.mul(0.5).log_softmax"),
    f"{LIBRARY}/models/text_check.py": ("SHORT = 2", "SHORT = 3"),
    f"{LIBRARY}/analysis/averages.py": ("DataFrame(changes).median()", "DataFrame(changes).quantile(0.4)"),
    f"{LIBRARY}/pages/templates/report.html.j2": ("<h1>", "<h1 class='large'>"),
}
CONFIG: dict[str, tuple[Any, Any]] = {
    "seed": (0, 5),
    "injection": (
        {"layers": [0, 2], "magnitudes": [1, 4]},
        {"memories": ["curated", "nouns"], "layers": [0], "magnitudes": [1, 4, 9]},
    ),
}


class History:
    """A study, and what happens to it by chance."""

    def __init__(self, checkout: Checkout, chance: random.Random) -> None:
        self.checkout, self.folder, self.chance = checkout, checkout.folder, chance
        self.earlier: list[Path] = []
        self.told: list[str] = []

    def live(self) -> None:
        """Let something happen."""
        happen: Callable[[], None] = self.chance.choice(
            [
                self.edit_config, self.edit_code, self.edit_data, self.kill_a_job, self.kill_everything,
                self.remove_results, self.restore_earlier_results, self.lose_records,
            ]
        )  # fmt: skip
        self.told.append(happen.__name__)
        happen()

    def edit_config(self) -> None:
        key = self.chance.choice(list(CONFIG))
        before, after = CONFIG[key]
        self.checkout.config[key] = after if self.checkout.config[key] == before else before

    def edit_code(self) -> None:
        file = self.chance.choice(list(CODE))
        self._toggle(self.folder / file, *CODE[file])

    def edit_data(self) -> None:
        self._toggle(self.folder / "mine.csv", "fought", "battled")

    def _toggle(self, file: Path, old: str, new: str) -> None:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(new, old, 1) if new in text else text.replace(old, new, 1), encoding="utf-8")

    def kill_a_job(self) -> None:
        run = self.checkout.start()
        self._wait_for_a_job(run)
        jobs = self._list_jobs()
        if jobs:
            self.chance.choice(jobs).kill()
        run.communicate()

    def kill_everything(self) -> None:
        run = self.checkout.start()
        self._wait_for_a_job(run)
        run.kill()
        run.communicate()
        for job in self._list_jobs():
            job.kill()
        self.checkout.snakemake("--unlock")

    def _wait_for_a_job(self, run: subprocess.Popen[str]) -> None:
        delay = time.monotonic() + self.chance.uniform(0, 15)
        while run.poll() is None and (time.monotonic() < delay or not self._list_jobs()):
            time.sleep(0.01)

    def _list_jobs(self) -> list[psutil.Process]:
        processes = psutil.process_iter(["name", "cwd"])
        return [each for each in processes if each.info["cwd"] == str(self.folder) and each.info["name"][-3:] == ".py"]

    def remove_results(self) -> None:
        paths = sorted((self.folder / "results").rglob("*"))
        for path in self.chance.sample(paths, min(3, len(paths))):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def restore_earlier_results(self) -> None:
        if self.earlier:
            shutil.rmtree(self.folder / "results")
            shutil.copytree(self.chance.choice(self.earlier), self.folder / "results", symlinks=True)

    def lose_records(self) -> None:
        shutil.rmtree(self.folder / ".snakemake", ignore_errors=True)

    def keep_results(self) -> None:
        """Keep the results as they are now, to be restored one day."""
        self.earlier.append(self.folder.parent / f"earlier-{len(self.earlier)}")
        shutil.copytree(self.folder / "results", self.earlier[-1], symlinks=True)


@pytest.fixture(scope="module")
def history(tiny_models: dict[str, Path], python: Path, tmp_path_factory: pytest.TempPathFactory) -> History:
    """A finished study; each test goes on where the last one left it."""
    study = make_study(tmp_path_factory.mktemp("history") / "study", python, tiny_models["llama"])
    study.config |= {key: values[0] for key, values in CONFIG.items()}
    study.snakemake()
    return History(study, random.Random(0))


@pytest.mark.parametrize("number", range(int(os.environ.get("HISTORIES", "3"))))
def test_the_same_command_ends_in_the_results_of_a_fresh_run(number: int, history: History, tmp_path: Path) -> None:
    history.chance = random.Random(number)
    history.told.clear()
    for _ in range(STEPS):
        history.live()
    done = history.checkout.call()
    assert done.returncode == 0, (history.told, done.stderr[-3000:])
    expected, found = run_anew(history.checkout, tmp_path / "fresh"), read_results(history.folder)
    # Of a sweep that the config no longer has, files may be left.
    assert list_differences({name: found[name] for name in expected if name in found}, expected) == [], history.told
    assert "Nothing to be done" in history.checkout.snakemake()
    history.keep_results()
