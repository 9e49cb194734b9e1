"""After an edit exactly the jobs run again that docs/reruns.md says: real dry runs of a tiny study that is finished."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PAIRS, ROOT, WORDS
from hub import serve
from memory_injections.atomic_files import sha256

STAGES = {
    "data": {"pairs", "words"},
    "model": {"model", "lens"},
    "activations": {"activations"},
    "attribution": {"attribution", "table2", "attribution_figure"},
    "injections": {"cells", "injections"},
    "tables": {"table1", "table3", "evidence", "scorecard"},
    "figures": {"change_figure", "distribution_figure", "comparison_figure"},
    "report": {"report"},
    "explorer": {"explorer"},
    "walkthrough": {"walkthrough"},
}


class Checkout:
    """A copy of the project in which a tiny study is finished: edited, asked what would run, and put back."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        for part in ("workflow", "resources"):
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
            )  # fmt: skip

    def snakemake(self, *arguments: str) -> str:
        """What Snakemake prints."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "study.yaml"]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each stage a dry run lists."""
        said = self.snakemake("--dry-run", *arguments)
        jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE))
        assert jobs or "Nothing to be done" in said
        of_stages = {stage: sum(int(jobs.pop(rule, 0)) for rule in rules) for stage, rules in STAGES.items()}
        assert set(jobs) <= {"all", "total"}
        return of_stages

    def replace(self, file: str, old: str, new: str) -> None:
        """Edit one place of a file."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def touch_everything(self) -> None:
        """Every file of the project and of its results gets another time, the oldest results the newest."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and ".snakemake" not in path.parts]
        for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
            path.touch()


@pytest.fixture(scope="module")
def finished(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The tiny study, run to its end: one model, a data set from the web and one of this machine, two sweeps."""
    folder = tmp_path_factory.mktemp("reruns") / "checkout"
    folder.mkdir()
    for name in ("llama", "gpt2"):
        shutil.copytree(tiny_models[name], folder / name)
    shutil.copy(PAIRS, folder / "mine.csv")
    shutil.copy(WORDS, folder / "words.csv")
    with serve({}, {"web.csv": PAIRS.read_bytes()}) as hub:
        study = {
            "study": "tiny",
            "seed": 0,
            "models": {"llama": {"source": "local", "path": "llama"}},
            "datasets": {
                "web": {"source": "url", "url": f"{hub.url}/web.csv", "sha256": sha256(PAIRS), "rows": 3},
                "mine": {"source": "file", "path": "mine.csv", "rows": 3},
            },
            "words": {"source": "file", "path": "words.csv"},
            "injection": {"memories": ["curated", "nouns"], "encodings": ["unembed"], "magnitudes": [1, 4]},
            "attribution": {"top_k": 5},
        }
        checkout = Checkout(folder, study)
        checkout.snakemake()
    return checkout


@pytest.fixture
def checkout(finished: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """The finished study, put back as it was afterwards, times included."""
    shutil.copytree(finished.folder, tmp_path / "as_it_was", symlinks=True)
    config, environment = yaml.safe_dump(finished.config, sort_keys=False), dict(finished.environment)
    yield finished
    shutil.rmtree(finished.folder)
    shutil.copytree(tmp_path / "as_it_was", finished.folder, symlinks=True)
    finished.config, finished.environment = yaml.safe_load(config), environment


def reorder(config: Any) -> Any:
    """The same mapping with its keys the other way round, at every level."""
    return {key: reorder(config[key]) for key in reversed(config)} if isinstance(config, dict) else config


def another_torch(checkout: Checkout) -> None:
    """What a newer torch says of itself comes first on Python's path."""
    metadata = checkout.folder / "newer" / "torch-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 99.0\n", encoding="utf-8")
    checkout.environment["PYTHONPATH"] = str(checkout.folder / "newer")


def reword(checkout: Checkout) -> None:
    """Edits of the engine that a computer does not see."""
    checkout.replace(f"{LIBRARY}/engine.py", '"""', '"""Other words.\n')
    checkout.replace(f"{LIBRARY}/engine.py", "MIN_ROWS = 16", "MIN_ROWS   =   16  # a comment")


LIBRARY = "workflow/memory_injections"
Edit = Callable[[Checkout], list[str] | None]
# What each does to the finished study; some give arguments of Snakemake instead.
EDITS: dict[str, Edit] = {
    "nothing": lambda _: None,
    "every file touched": Checkout.touch_everything,
    "another number of cores": lambda _: ["--cores", "1"],
    "another profile": lambda _: ["--workflow-profile", "workflow/profiles/gpu"],
    "the config's keys in another order": lambda c: setattr(c, "config", reorder(c.config)),
    "a comment, a docstring and spaces in the engine": reword,
    "a comment in a script": lambda c: c.replace("workflow/scripts/cells.py", "import json", "# More.\nimport json"),
    "a function that no job calls": lambda c: c.replace(
        f"{LIBRARY}/statistics.py", "def best_site", "def unused() -> None:\n    return\n\n\ndef best_site"
    ),
    "the engine's arithmetic": lambda c: c.replace(f"{LIBRARY}/engine.py", "MIN_ROWS = 16", "MIN_ROWS = 32"),
    "the heads' projection": lambda c: c.replace(f"{LIBRARY}/lens.py", "addmm(lens.b_U", "addmm(0 * lens.b_U"),
    "how an answer is scored": lambda c: c.replace(f"{LIBRARY}/scoring.py", "log_probs > own", "log_probs >= own"),
    "the median": lambda c: c.replace(f"{LIBRARY}/statistics.py", "change.median()", "change.quantile(0.5)"),
    "a figure's colours": lambda c: c.replace(f"{LIBRARY}/figures.py", '"RdBu_r"', '"PuOr_r"'),
    "what the paper says": lambda c: c.replace("resources/paper.yaml", "headline: 424", "headline: 425"),
    "a caption": lambda c: c.replace("workflow/report/change.rst", "Percent", "The percent"),
    "the report's page": lambda c: c.replace("workflow/report/report.html.j2", "<h1>", "<h1 class='big'>"),
    "the explorer's page": lambda c: c.replace(
        "workflow/report/explorer.map.js", "LINEAR_BELOW = 10", "LINEAR_BELOW = 1"
    ),
    "the walk-through": lambda c: c.replace("workflow/notebooks/walkthrough.ipynb", "step by step", "by and by"),
    "a magnitude more": lambda c: c.config["injection"]["magnitudes"].append(8),
    "a kind of memory more": lambda c: c.config["injection"]["memories"].append("verbs"),
    "a larger `top_k`": lambda c: c.config["attribution"].update(top_k=6),
    "another seed": lambda c: c.config.update(seed=1),
    "two shards": lambda c: c.config.update(shards=2),
    "a prompt of `mine`": lambda c: c.replace("mine.csv", "fought", "battled"),
    "a word": lambda c: c.replace("words.csv", "time", "era"),
    "the checksum of `web`": lambda c: c.config["datasets"]["web"].update(sha256="0" * 64),
    "a file of the model": lambda c: c.replace("llama/config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'),
    "a model more": lambda c: c.config["models"].update(gpt2={"source": "local", "path": "gpt2"}),
    "a newer torch": another_torch,
}


def documented() -> dict[str, dict[str, int]]:
    """The table of docs/reruns.md."""
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    header = rows[0][1:]
    return {edit: {s: int(n or 0) for s, n in zip(header, counts, strict=True)} for edit, *counts in rows[2:]}


def test_the_table_has_every_edit() -> None:
    assert list(documented()) == list(EDITS)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_reruns_what_the_table_says(edit: str, checkout: Checkout) -> None:
    arguments = EDITS[edit](checkout) or []
    assert checkout.planned(*arguments) == documented()[edit]
