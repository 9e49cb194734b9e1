"""The steps in docs/extending.md, followed literally in a copy of the project: the report has its figure and source."""

import json
import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import Checkout, copy_project
from conftest import PAIRS, ROOT, tiny_study

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


def test_a_metric_a_figure_a_table_and_a_source_of_prompts_are_in_the_study(
    tiny_models: dict[str, Path], tmp_path: Path, python: Path
) -> None:
    copy_project(tmp_path)
    with (tmp_path / LIBRARY / "figures" / "injections.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\n{read_code('A figure', 'python')}")
    caption = read_code("A figure", "rst")
    (tmp_path / "workflow/report/figures/rank.rst").write_text(caption, encoding="utf-8")
    with (tmp_path / LIBRARY / "tables" / "sites.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\n{read_code('A table', 'python')}")
    (tmp_path / "workflow/report/hits_by_layer.rst").write_text(read_code("A table", "rst"), encoding="utf-8")
    column, score = list_code("A metric of a cell", "python")
    insert_before(tmp_path / LIBRARY / "sweeps/cells.py", '    "top_token_id": pa.int32(),\n', column)
    insert_before(
        tmp_path / LIBRARY / "injection/cell_computer.py", '            "top_token_id": log_probs.argmax', score
    )
    code = read_code("A source of prompts", "python")
    insert_before(tmp_path / LIBRARY / "data" / "sources.py", "def list_data_sources", f"{code}\n\n")

    pd.read_csv(PAIRS).head(3).to_json(tmp_path / "pairs.jsonl", orient="records", lines=True)
    datasets = yaml.safe_load(read_code("A source of prompts", "yaml"))["datasets"]
    study = tiny_study(tiny_models["gpt2"], datasets=datasets, injection={"magnitudes": [1, 4]})
    Checkout(tmp_path, study, python).snakemake("results/tiny/report.html")

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
    first = json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    assert first["obscure_prompt"] in page
