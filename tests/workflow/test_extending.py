"""The steps in docs/extending.md, followed literally in a copy of the project: the report has its figure and source."""

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import Checkout, copy_project, make_checkout
from conftest import PAIRS, ROOT, tiny_study
from extensions import install

LIBRARY = Path("workflow/memory_injections")


def list_code(section: str, language: str) -> list[str]:
    """The code blocks in a language in a section of the page."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    text = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)


def read_code(section: str, language: str) -> str:
    """The only code block in a language in a section of the page."""
    (code,) = list_code(section, language)
    return dedent(code)


def insert_before(path: Path, mark: str, code: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(mark) == 1
    path.write_text(text.replace(mark, f"{code}{mark}"), encoding="utf-8")


def append(path: Path, section: str) -> None:
    """Append the code of a section to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n\n{read_code(section, 'python')}")


def read_controls(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "results/tiny/tables/controls.csv")


def test_everything_that_can_be_added_is_in_the_study(
    tiny_models: dict[str, Path], tmp_path: Path, python: Path
) -> None:
    copy_project(tmp_path)
    append(tmp_path / LIBRARY / "figures" / "injections.py", "A figure")
    caption = read_code("A figure", "rst")
    (tmp_path / "workflow/report/figures/rank.rst").write_text(caption, encoding="utf-8")
    append(tmp_path / LIBRARY / "tables" / "sites.py", "A table")
    (tmp_path / "workflow/report/hits_by_layer.rst").write_text(read_code("A table", "rst"), encoding="utf-8")
    column, score = list_code("A metric of a cell", "python")
    insert_before(tmp_path / LIBRARY / "sweeps/cells.py", '    "top_token_id": pa.int32(),\n', column)
    insert_before(
        tmp_path / LIBRARY / "injection/cell_computer.py", '            "top_token_id": log_probs.argmax', score
    )
    append(tmp_path / LIBRARY / "injection/encodings.py", "An encoding")
    append(tmp_path / LIBRARY / "paper/claims.py", "A claim")
    code = read_code("An average over prompts", "python")
    insert_before(tmp_path / LIBRARY / "analysis/averages.py", "# The labels of the averages", f"{code}\n\n")
    append(tmp_path / LIBRARY / "controls/kinds.py", "A control")
    append(tmp_path / LIBRARY / "data/sources.py", "A source of prompts")

    pd.read_csv(PAIRS).head(3).to_json(tmp_path / "pairs.jsonl", orient="records", lines=True)
    datasets = yaml.safe_load(read_code("A source of prompts", "yaml"))["datasets"]
    grid = {"encodings": ["unembed", "mean"], "magnitudes": [1, 4]}
    study = tiny_study(tiny_models["gpt2"], datasets=datasets, injection=grid, controls={})
    Checkout(tmp_path, study, python).snakemake("results/tiny/report.html", "results/tiny/explorer.html")

    figure = tmp_path / "results/tiny/figures/rank.tiny.lines.curated.unembed.pdf"
    assert figure.is_file()
    assert figure.with_suffix(".png").is_file()
    page = (tmp_path / "results/tiny/report.html").read_text(encoding="utf-8")
    assert "<h3>Rank by site</h3>" in page
    assert "Median rank of the answer after the injection, over layer and magnitude." in page
    assert figure.name in page
    cells = pd.read_parquet(tmp_path / "results/tiny/injections/tiny/lines/curated.unembed.parquet")
    hits = pd.read_csv(tmp_path / "results/tiny/tables/hits_by_layer.csv")
    expected = cells.groupby("layer")["rank_injected"].agg(lambda ranks: (ranks == 0).mean())
    assert dict(zip(hits["layer"], hits["hits"], strict=True)) == pytest.approx(expected.to_dict())
    # The vocabulary has 50,257 tokens, and a randomly initialised model prefers few of them.
    assert cells["entropy"].between(1, np.log(50_257)).all()
    sites = pd.read_csv(tmp_path / "results/tiny/tables/sites.csv")
    assert (sites["upper_quartile"] >= sites["median"]).all()
    assert "upper quartile" in page
    claims = pd.read_csv(tmp_path / "results/tiny/tables/claims.csv").set_index("claim")
    assert claims.loc["9. Early layers are where the memory helps", "verdict"] in ("supported", "opposite")
    # Half of the memory's vector is the vector at half of the magnitude.
    controls = read_controls(tmp_path)
    assert controls.query("control == 'half'")["effect"].notna().all()
    assert "the memory at half its length" in (tmp_path / "results/tiny/explorer.html").read_text(encoding="utf-8")
    mean = pd.read_parquet(tmp_path / "results/tiny/injections/tiny/lines/curated.mean.parquet")
    of_one_token = mean["p_injected"].eq(cells["p_injected"])
    assert 0 <= of_one_token.sum() < len(mean)
    first = json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    assert first["obscure_prompt"] in page


def test_an_installed_package_adds_what_a_study_asks_for(
    tiny_models: dict[str, Path], tmp_path: Path, python: Path
) -> None:
    section = "From a package of your own"
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(read_code(section, "toml"), encoding="utf-8")
    module = package / "spelled_memories.py"
    module.write_text("\n\n".join(list_code(section, "python")), encoding="utf-8")
    command = ["pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--target", str(site)]
    subprocess.run([sys.executable, "-m", *command, str(package)], check=True)
    encodings, controls = ["unembed", "spelled"], {"kinds": ["shuffled", "rolled"]}
    grid = {"encodings": encodings, "magnitudes": [1, 4]}
    study = {"injection": grid, "controls": controls, "datasets": {"mine": {"source": "riddles"}}}
    checkout = make_checkout(tmp_path / "study", tiny_models["gpt2"], python, **study)
    without = checkout.call("--dry-run")
    assert without.returncode != 0
    assert "config key datasets.mine.source is 'riddles'; allowed: " in without.stdout + without.stderr

    checkout.environment["PYTHONPATH"] = str(site)
    checkout.snakemake()
    found = read_controls(checkout.folder)
    assert set(found["encoding"]) == {"unembed", "spelled"}
    assert found.query("control == 'rolled'")["contrast"].notna().all()
    results = checkout.folder / "results/tiny"
    assert "numbers in another order" in (results / "explorer.html").read_text(encoding="utf-8")
    cells = [pd.read_parquet(results / f"injections/tiny/mine/curated.{encoding}.parquet") for encoding in encodings]
    assert not cells[0]["p_injected"].equals(cells[1]["p_injected"])
    assert pd.read_csv(results / "tables/letters.csv")["letters"].tolist() == [11, 8, 10]
    assert (results / "figures/spread.study.png").is_file()
    report = (results / "report.html").read_text(encoding="utf-8")
    assert "<h3>Letters of memories</h3>" in report
    assert "How long memories are, in letters." in report

    assert checkout.plan() == {}
    # From the last job on to the first: an edit runs nothing that comes before it.
    edits = {
        "study_figures": ('.hist(table["letters"])', '.hist(table["letters"], 5)'),
        "control_cells": ("1, dims=1", "2, dims=1"),
        "inject": ('" ".join(text)', '"-".join(text)'),
        "letters": ('r"\\w"', 'r"\\w+"'),
        "unpinned_pairs": ('"Warsaw"', '"Poland"'),
    }
    for place, (rule, (old, new)) in enumerate(edits.items(), start=1):
        checkout.replace("../site/spelled_memories.py", old, new)
        assert checkout.plan().keys() & edits.keys() == set([*edits][:place]), rule


TABLE = """
from memory_injections.tables.registry import register_table

@register_table({"places": "places"}, reads=("poetry",))
def places(poetry): ...
"""


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "import no_such_module",
            "the installed package poems does not load (ModuleNotFoundError: No module named 'no_such_module')",
        ),
        (TABLE, "the table job poems.places reads 'poetry', which no study has; name some of "),
    ],
)
def test_a_broken_package_ends_a_run_in_one_sentence(
    code: str, sentence: str, tiny_models: dict[str, Path], tmp_path: Path, python: Path
) -> None:
    install(tmp_path / "site", "poems", code)
    checkout = make_checkout(tmp_path / "study", tiny_models["gpt2"], python)
    checkout.environment["PYTHONPATH"] = str(tmp_path / "site")
    done = checkout.call("--dry-run")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert sentence in said
    assert "Traceback" not in said
