"""After an edit, exactly the jobs in docs/reruns.md run again: checked with dry runs of a finished tiny study."""

from collections.abc import Callable
from typing import Any

import pytest
from checkout import Checkout
from conftest import ROOT
from memory_injections.tables.registry import list_table_jobs

STAGES = {
    "data": {"pairs", "words"},
    "model": {"model", "processed_weights"},
    "text check": {"text_check", "text_check_tables"},
    "activations": {"activations"},
    "attribution": {"attribution", "table2"},
    "injections": {"inject", "gather"},
    "controls": {"control_cells", "controls"},
    "mechanisms": {"mechanism_measurements", "mechanisms"},
    "tables": {
        "paper", "table1", "table3", "population", "population_table", "evidence", "breakdown", "claims", "scorecard",
        "headline",
    },
    "figures": {"sweep_figures", "encoding_figures", "heads_figures", "study_figures"},
    "report": {"report"},
    "explorer": {"explorer"},
    "walkthrough": {"walkthrough"},
}  # fmt: skip
LIBRARY = "workflow/memory_injections"
ENGINE = f"{LIBRARY}/injection/skipping_engine.py"
LIMITS = f"{LIBRARY}/models/limits.py"
SOURCES = f"{LIBRARY}/data/sources.py"
KINDS = f"{LIBRARY}/controls/kinds.py"
FIGURES = f"{LIBRARY}/figures"


def reorder(config: Any) -> Any:
    """The same mapping with its keys the other way round, at every level."""
    return {key: reorder(config[key]) for key in reversed(config)} if isinstance(config, dict) else config


def use_another_torch(checkout: Checkout) -> None:
    """Put the metadata of a newer torch first on Python's path."""
    checkout.write("newer/torch-99.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 99.0\n")
    checkout.environment["PYTHONPATH"] = str(checkout.folder / "newer")


def reword(checkout: Checkout) -> None:
    """Edit the engine without changing its syntax."""
    checkout.replace(ENGINE, '"""', '"""Other words.\n')
    checkout.replace(LIMITS, "MIN_ROWS = 32", "MIN_ROWS   =   32  # a comment")


# How each edit changes the finished study; some return arguments for Snakemake instead.
EDITS: dict[str, Callable[[Checkout], list[str] | None]] = {
    "nothing": lambda _: None,
    "every file touched": Checkout.touch_everything,
    "another number of cores": lambda _: ["--cores", "1"],
    "another profile": lambda _: ["--workflow-profile", "workflow/profiles/gpu"],
    "the config's keys in another order": lambda c: setattr(c, "config", reorder(c.config)),
    "a comment, a docstring and spaces in the engine": reword,
    "a comment in a script": lambda c: c.replace("workflow/scripts/inject.py", "from _job", "# More.\nfrom _job"),
    "a function that no job calls": lambda c: c.replace(
        f"{LIBRARY}/analysis/averages.py",
        "def measure_change",
        "def unused() -> None:\n    return\n\n\ndef measure_change",
    ),
    "the engine's arithmetic": lambda c: c.replace(LIMITS, "MIN_ROWS = 32", "MIN_ROWS = 64"),
    "the heads' projection": lambda c: c.replace(
        f"{LIBRARY}/models/processed_weights.py", "addmm(processed.b_U", "addmm(0 * processed.b_U"
    ),
    "how an answer is scored": lambda c: c.replace(
        f"{LIBRARY}/models/scoring.py", "log_probs > log_prob", "log_probs >= log_prob"
    ),
    "the median": lambda c: c.replace(
        f"{LIBRARY}/analysis/averages.py",
        "DataFrame(values.changes).median()",
        "DataFrame(values.changes).quantile(0.5)",
    ),
    "what a control injects": lambda c: c.replace(KINDS, "return -parts.memory", "return -2 * parts.memory"),
    "what a control is called": lambda c: c.replace(KINDS, "with its sign turned", "turned around"),
    "a figure's colours": lambda c: c.replace(f"{FIGURES}/maps.py", '"RdBu_r"', '"PuOr_r"'),
    "another figure's dots": lambda c: c.replace(f"{FIGURES}/injections.py", "jitter=0.25", "jitter=0.3"),
    "what the paper says": lambda c: c.replace("resources/paper.yaml", "percent: 424", "percent: 425"),
    "a caption": lambda c: c.replace("workflow/report/figures/change.rst", "The paper's own map", "A map"),
    "the report's page": lambda c: c.replace(f"{LIBRARY}/pages/templates/report.html.j2", "<h1>", "<h1 class='big'>"),
    "the explorer's page": lambda c: c.replace(
        f"{LIBRARY}/pages/templates/explorer.map.js", "0.9 * (gains", "0.8 * (gains"
    ),
    "the walk-through": lambda c: c.replace("workflow/notebooks/walkthrough.ipynb", "step by step", "by and by"),
    "how files from the web are read": lambda c: c.replace(
        SOURCES, "self.fetch(Path(folder)), self.url)", "self.fetch(Path(folder)), str(self.url))"
    ),
    "a source that no data set has": lambda c: c.replace(SOURCES, "{self.file} of {self.repo}", "{self.repo}"),
    "a magnitude more": lambda c: c.config["injection"][0]["magnitudes"].append(8),
    "a kind of memory more": lambda c: c.config["injection"][2]["memories"].append("adverbs"),
    "an encoding more": lambda c: c.config["injection"].append({"encodings": ["embed"], "layers": [0]}),
    "a larger `top_k`": lambda c: c.config["attribution"].update(top_k=6),
    "another seed": lambda c: c.config.update(seed=1),
    "prompts with both hops known": lambda c: c.config.update(population="both_hops_known"),
    "effects by another column": lambda c: c.config.update(by=["topic"]),
    "whole answers of one kind of memory": lambda c: c.config["injection"][0].update(score="whole"),
    "verdicts by what is written": lambda c: c.config.update(outcome="generation"),
    "memories at the answer's positions, too": lambda c: c.config.update(answers={"positions": "all"}),
    "two shards": lambda c: c.config.update(shards=2),
    "no walk-through": lambda c: c.config.update(walkthrough=False),
    "a prompt of `mine`": lambda c: c.replace("mine.csv", "fought", "battled"),
    "a word": lambda c: c.replace("words.csv", "time", "era"),
    "the checksum of `web`": lambda c: c.config["datasets"]["web"].update(sha256="0" * 64),
    "a file of the model": lambda c: c.replace("llama/config.json", '"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'),
    "a model more": lambda c: c.config["models"].update(gpt2={"source": "local", "path": "gpt2"}),
    "a newer torch": use_another_torch,
}


def read_table() -> dict[str, dict[str, int]]:
    """The table of docs/reruns.md."""
    text = (ROOT / "docs" / "reruns.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    header = rows[0][1:]
    return {edit: {s: int(n or 0) for s, n in zip(header, counts, strict=True)} for edit, *counts in rows[2:]}


def test_the_table_has_every_edit_and_every_rule() -> None:
    assert list(read_table()) == list(EDITS)
    scripts = {path.stem for path in (ROOT / "workflow" / "scripts").glob("[!_]*.py")}
    other_studies = {"access", "published", "published_download", "published_cells", "published_pairs"}
    other_studies |= {"coverage", "word_files"}
    rules = set.union(*STAGES.values())
    assert list_table_jobs().keys() <= rules
    own_scripts = {"figures" if rule.endswith("_figures") else rule for rule in rules - list_table_jobs().keys()}
    assert own_scripts | {"tables"} == scripts - other_studies


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_reruns_what_the_table_says(edit: str, edited: Checkout) -> None:
    jobs = edited.plan(*EDITS[edit](edited) or [])
    by_stage = {stage: sum(jobs.pop(rule, 0) for rule in rules) for stage, rules in STAGES.items()}
    assert jobs == {}
    assert by_stage == read_table()[edit]


def test_an_edit_draws_only_its_own_figure(edited: Checkout) -> None:
    target = "results/tiny/figures/effect.llama.mine.curated.unembed.png"
    EDITS["another figure's dots"](edited)
    for _ in range(2):  # the second time, the edit is undone
        said = edited.snakemake(target)
        figures = ("effect", "change", "distribution")
        kept = [name for name in figures if f"/{name}.llama.mine.curated.unembed.png is drawn already" in said]
        assert kept == ["effect", "change"]
        edited.put_back()
    assert edited.plan() == {}
