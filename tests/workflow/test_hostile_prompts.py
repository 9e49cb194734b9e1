"""Prompts, answers, memories and tokens are text on every page, whatever they hold: nothing in them runs or loads."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from checkout import Checkout
from conftest import ROOT
from explorer_tables import LAYERS, N_PROMPTS, OURS, tables_in
from headless import browser, page
from hostile import PROMPTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_injections.analysis.table_files import read_table
from memory_injections.config.study import parse_study
from memory_injections.data.prompt_pairs import TEXT_COLUMNS, index_pairs
from memory_injections.models.checkpoints import read_manifest
from memory_injections.pages.explorer import render_explorer
from memory_injections.pages.notebook import execute_notebook
from memory_injections.pages.report import render_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["browser", "page"]

# What ran, and what could run or load something. Scripts of plain text are data, which the explorer removes once read.
ACTIVE = """() => ({
  attacked: window.attacked ?? null,
  elements: document.querySelectorAll(
    "script:not([type='text/plain']), iframe, object, embed, base, link, meta[http-equiv], form:not(#controls), " +
    "img:not([src^='data:'])").length,
  handlers: [...document.querySelectorAll("*")].flatMap((element) => element.getAttributeNames())
    .filter((name) => name.startsWith("on")).length,
  links: [...document.links].filter((link) => !/^(file|https):$/.test(link.protocol)).length,
})"""
FUZZED = settings(
    deadline=None, max_examples=5, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
TEXTS = st.lists(PROMPTS, min_size=4 * N_PROMPTS, max_size=4 * N_PROMPTS)


def spread(texts: list[str], n_rows: int) -> pd.DataFrame:
    """Give every prompt pair four of the texts."""
    return pd.DataFrame([texts[start::N_PROMPTS] for start in range(n_rows)], columns=TEXT_COLUMNS)


def look_at(page: "Page", html: str, path: Path, place: str = "") -> dict[str, Any]:
    """Open a page and return what is active on it."""
    path.write_text(html, encoding="utf-8")
    page.goto("about:blank")
    page.goto(path.as_uri() + place)
    return page.evaluate(ACTIVE)


def read_texts(page: "Page", selector: str) -> list[str]:
    return page.locator(selector).evaluate_all("found => found.map((element) => element.textContent)")


def render(finished: Checkout, texts: list[str] | None) -> str:
    """The report of the finished study, without figures, and with other texts."""
    results = finished.folder / "results"
    tables = {path.stem: read_table(path) for path in (results / "tiny/tables").glob("*.csv")}
    pairs = index_pairs(results / f"shared/datasets/{name}.csv" for name in ("mine", "web"))
    if texts:
        pairs = {name: table.assign(**spread(texts, len(table))) for name, table in pairs.items()}
        shown = spread(texts, N_PROMPTS)
        tables["table2"] = (
            tables["table2"]
            .reindex(range(N_PROMPTS))
            .assign(**shown, says_explicit=shown["memory"], says_obscure=shown["answer"])
        )
        tables["breakdown"]["group"] = texts[0]
    return render_report(
        ROOT / "workflow/memory_injections/pages/templates/report.html.j2",
        source="models",
        walkthrough=True,
        config=parse_study(finished.config, finished.folder).model_dump(mode="json"),
        manifests={"llama": read_manifest(results / "shared/models/llama/manifest.json")},
        pairs=pairs,
        tables=tables,
        figures={},
        captions={},
    )


@FUZZED
@given(texts=TEXTS)
def test_the_report_shows_texts(texts: list[str], finished: Checkout, page: "Page", tmp_path: Path) -> None:
    harmless = look_at(page, render(finished, None), tmp_path / "report.html")
    assert look_at(page, render(finished, texts), tmp_path / "report.html") == harmless
    shown = spread(texts, N_PROMPTS)
    assert read_texts(page, "td.says_explicit") == list(shown["memory"])
    assert read_texts(page, "td.obscure_prompt")[-N_PROMPTS:] == list(shown["obscure_prompt"])


@FUZZED
@given(texts=TEXTS)
def test_the_explorer_shows_texts(texts: list[str], page: "Page", tmp_path: Path) -> None:
    tables = tables_in(tmp_path)
    pairs = spread(texts, N_PROMPTS)
    harmless = look_at(page, render_explorer(**tables), tmp_path / "explorer.html")
    tables["pairs"] = {"hand": tables["pairs"]["hand"].assign(**pairs)}
    path = tables["sweeps"][OURS]
    cells = pd.read_parquet(path)
    memories, tokens = (cells["prompt_id"].map(pairs[column]) for column in ("memory", "answer"))
    cells.assign(memory=memories, top_token=tokens).to_parquet(path)
    top = pd.read_parquet(tables["heads"][0][0])
    top.assign(token=top["prompt_id"].map(pairs["explicit_prompt"])).to_parquet(tables["heads"][0][0])
    place = f"#layer={LAYERS[5]}&magnitude=3&prompt=1"
    assert look_at(page, render_explorer(**tables), tmp_path / "explorer.html", place) == harmless
    page.locator("#heads table").wait_for()
    assert page.evaluate(ACTIVE) == harmless
    assert sorted(read_texts(page, ".prompts tbody th")) == sorted(pairs["obscure_prompt"])
    assert sorted(read_texts(page, ".prompts tbody td:nth-child(3)")) == sorted(pairs["memory"])
    assert read_texts(page, "#pair dd")[:3] == [
        pairs[name][1] for name in ("obscure_prompt", "explicit_prompt", "answer")
    ]


def test_the_walkthrough_of_one_pair_of_equal_hostile_prompts(
    finished: Checkout, page: "Page", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "workflow"))
    results = finished.folder / "results"
    prompt = "a<script>attacked=1</script> $x_{$ ירושלים *b* is"
    texts = dict.fromkeys(TEXT_COLUMNS[:2], prompt) | {"memory": "<b>$\\q$", "answer": "</script>"}
    pairs = index_pairs([results / "shared/datasets/mine.csv"])["mine"]
    pairs.head(1).assign(**texts).to_csv(tmp_path / "pairs.csv", index=False)
    tables = {"heads": "attribution-targets/llama/mine", "cells": "injections/llama/mine/curated.unembed"}
    for name, table in tables.items():
        rows = pd.read_parquet(results / f"tiny/{table}.parquet", filters=[("prompt_id", "==", 0)])
        rows.to_parquet(tmp_path / f"{name}.parquet")
    parameters = {
        "model": str(results / "shared/models/llama/checkpoint"),
        "pairs": str(tmp_path / "pairs.csv"),
        **{name: str(tmp_path / f"{name}.parquet") for name in tables},
        "devices": ["cpu"],
    }
    walkthrough = tmp_path / "walkthrough.html"
    execute_notebook(ROOT / "workflow/notebooks/walkthrough.ipynb", parameters, tmp_path / "done.ipynb", walkthrough)
    own = (results / "tiny/walkthrough.html").read_text(encoding="utf-8")
    harmless = look_at(page, own, tmp_path / "own.html")
    assert look_at(page, walkthrough.read_text(encoding="utf-8"), walkthrough) == harmless
    assert prompt in read_texts(page, "td")
    assert "There is no such comparison here: there are no pairs" in walkthrough.read_text(encoding="utf-8")
