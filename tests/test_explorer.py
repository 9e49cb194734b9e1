"""The explorer: what its page packs, and the page itself in a browser, number by number."""

import base64
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from matplotlib.colors import SymLogNorm
from memory_injections import explorer, packing
from memory_injections.figures import DIVERGING, LINEAR_BELOW
from memory_injections.scorecard import SweepName
from memory_injections.statistics import AVERAGES, at_site, averages_by_site, best_site, percent_change
from memory_injections.tables import table2

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
REPORT = ROOT / "workflow" / "report"
PAPER = yaml.safe_load((ROOT / "resources" / "paper.yaml").read_text())
SCRIPTS = [REPORT / f"explorer.{part}js" for part in ("data.", "map.", "prompts.", "")]
# The authors report layer 7, magnitude 3 for this model and data set.
OURS = SweepName("gpt2", "hand", "curated", "unembed")
RANDOM = SweepName("gpt2", "hand", "nouns", "unembed")
THEIRS = SweepName("gpt2-large", "2wmh", "curated", "layer")
N_PROMPTS, LAYERS, MAGNITUDES = 12, range(9), (0.5, 1.0, 3.0)


def grid(prompts: int, layers: int, magnitudes: int | tuple[float, ...], seed: int = 0) -> pd.DataFrame:
    """Cells of random numbers that nothing compresses, some of them extreme."""
    rng = np.random.default_rng(seed)
    values = magnitudes if isinstance(magnitudes, tuple) else range(1, magnitudes + 1)
    index = pd.MultiIndex.from_product([range(prompts), range(layers), values], names=packing.CELL)
    cells = index.to_frame(index=False).astype({"magnitude": "float64"})
    prompt, n = cells["prompt_id"].to_numpy(), len(cells)
    before = np.exp(-rng.uniform(0.1, 9, prompts))
    cells["memory"] = [f"memory {number}" for number in prompt]
    cells["p_explicit"] = rng.uniform(size=prompts)[prompt].astype("float32")
    cells["p_obscure"] = before[prompt].astype("float32")
    cells["p_injected"] = np.minimum(1, before[prompt] * np.exp(2 * rng.standard_normal(n))).astype("float32")
    cells["rank_obscure"] = rng.integers(50257, size=prompts)[prompt]
    cells["rank_injected"] = rng.integers(50257, size=n)
    tokens = np.array([f" token {number}" for number in range(5000)])
    return cells.assign(top_token=tokens[rng.integers(5000, size=n)], top_token_id=0)


def readings(prompts: int, layers: int = 3, heads: int = 4, top_k: int = 8) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of attribution: top tokens, and logits and ranks of answer and memory."""
    rng = np.random.default_rng(1)
    axes = {
        "prompt_id": range(prompts),
        "prompt_kind": ["explicit", "obscure"],
        "layer": range(layers),
        "head": range(heads),
    }
    top = pd.MultiIndex.from_product([*axes.values(), range(top_k)], names=[*axes, "rank"]).to_frame(index=False)
    top["token"] = [f" t{number}" for number in rng.integers(400, size=len(top))]
    names = [*axes, "target"]
    targets = pd.MultiIndex.from_product([*axes.values(), ["answer", "memory"]], names=names).to_frame(index=False)
    targets["logit"] = rng.standard_normal(len(targets)).astype("float32")
    return top, targets.assign(rank=rng.integers(12, size=len(targets)))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `render` takes: two sweeps of ours with texts and heads, and one of the authors that has neither."""
    folder = tmp_path_factory.mktemp("tables")
    ours = grid(N_PROMPTS, len(LAYERS), MAGNITUDES)
    ours.loc[ours["prompt_id"] == 2, "p_obscure"] = 0
    ours.loc[(ours["prompt_id"] == 3) & (ours["layer"] > 4), "p_injected"] = 0
    nouns = grid(N_PROMPTS, 4, (1.0, 3.0), seed=1)
    nouns["memory"] = [f"word {number % 7}" for number in range(len(nouns))]
    theirs = grid(5, 4, (1.0, 2.0), seed=2).drop(columns="top_token")
    theirs[["rank_obscure", "rank_injected"]] = np.nan
    sweeps = {}
    for name, cells in {THEIRS: theirs, RANDOM: nouns, OURS: ours}.items():
        sweeps[name] = folder / f"{'-'.join(vars(name).values())}.parquet"
        cells.to_parquet(sweeps[name])
    paths = (folder / "top.parquet", folder / "targets.parquet")
    for path, table in zip(paths, readings(N_PROMPTS), strict=True):
        table.to_parquet(path)
    pairs = pd.DataFrame(
        {
            "prompt_id": range(N_PROMPTS),
            **{name: [f"{name} {n:02}" for n in range(N_PROMPTS)] for name in ("explicit_prompt", "memory", "answer")},
            "obscure_prompt": [f"</script><b>“{n:02}”</b> & 'the'" for n in range(N_PROMPTS)],
        }
    )
    return {
        "template": REPORT / "explorer.html.j2",
        "style": REPORT / "explorer.css",
        "scripts": SCRIPTS,
        "study": "tiny",
        "sweeps": sweeps,
        "pairs": {"hand": pairs},
        "heads": {("gpt2", "hand"): paths},
        "paper": PAPER,
    }


def unpack(text: str) -> dict[str, Any]:
    """What `pack` packed, read by its description alone."""
    body = gzip.decompress(base64.b64decode(text))
    start = 8 + int.from_bytes(body[:8], "little")
    header = json.loads(body[8:start])
    arrays = {
        name: np.frombuffer(body, f"<{kind}", length, start + offset)
        for name, (kind, offset, length) in header["arrays"].items()
    }
    return header | arrays


def test_probabilities_survive_within_the_bound() -> None:
    rng = np.random.default_rng(0)
    for lowest in (-5, -40, -103):
        p = np.exp(rng.uniform(lowest, 0, 20_000)).astype("float32").astype("float64")
        p[:3] = (0, 1, np.nextafter(np.float32(0), np.float32(1)) if lowest < -100 else p[3])
        codes, step = packing.quantised(p)
        back = np.exp((codes.astype("float64") - 65535) * step)
        assert (codes == 1).tolist() == (p == 0).tolist()
        assert codes.min() == 1
        error = np.abs(back[p > 0] / p[p > 0] - 1)
        assert error.max() <= np.expm1(step / 2) * (1 + 1e-9) < 8e-4
        assert error[0] == 0


def test_averages_are_those_of_statistics(tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][OURS])
    packed = unpack(packing.pack_sites(cells))
    expected = averages_by_site(cells)
    assert packed["layers"] == list(LAYERS)
    assert packed["magnitudes"] == list(MAGNITUDES)
    for name in [*AVERAGES, "n_improved", "n_prompts"]:
        assert packed[name].tolist() == expected[name].tolist()
    one_site_less = cells[(cells["layer"] != 4) | (cells["magnitude"] != 1)]
    packed = unpack(packing.pack_sites(one_site_less))
    assert np.flatnonzero(np.isnan(packed["mean"])).tolist() == [4 * 3 + 1]


@pytest.mark.parametrize("name", [OURS, RANDOM, THEIRS], ids=lambda name: f"{name.model} {name.memories}")
def test_cells_are_those_of_the_table(name: SweepName, tables: dict[str, Any]) -> None:
    cells = pd.read_parquet(tables["sweeps"][name]).drop(index=5)
    packed = unpack(packing.pack_cells(cells.sample(frac=1, random_state=0)))
    assert packed["p_injected"][5] == 0
    present = np.delete(np.arange(len(cells) + 1), 5)
    rounded = np.exp((packed["p_injected"][present].astype("float64") - 65535) * packed["step"])
    possible = cells["p_injected"].to_numpy() > 0
    assert rounded[possible] == pytest.approx(cells["p_injected"][possible], rel=8e-4)
    memories = packed["memory"][present if name == RANDOM else cells["prompt_id"]]
    assert [packed["memories"][code] for code in memories] == cells["memory"].tolist()
    if name == THEIRS:
        assert {packed["tokens"][code] for code in packed["top_token"][present]} == {"token 0"}
        assert not {"rank_obscure", "rank_injected"} & set(packed)
    else:
        assert (packed["rank_injected"][present] - 1 == cells["rank_injected"]).all()
        assert [packed["tokens"][code] for code in packed["top_token"][present]] == cells["top_token"].tolist()


def test_heads_are_those_of_table2(tables: dict[str, Any]) -> None:
    top, targets = tables["heads"]["gpt2", "hand"]
    packed = unpack(explorer.pack_heads(top, targets))
    assert packed["n_heads"] == explorer.N_HEADS
    shape = (N_PROMPTS, explorer.N_HEADS, 2)
    tokens = packed["token"].reshape(*shape, -1)
    for row in table2(top, targets, tables["pairs"]["hand"]).itertuples():
        first = row.prompt_id * explorer.N_HEADS
        assert (packed["layer"][first], packed["head"][first]) == (row.layer, row.head)
        for kind, name in enumerate(("explicit", "obscure")):
            says = " · ".join(packed["tokens"][code].strip() for code in tokens[row.prompt_id, 0, kind])
            assert says == getattr(row, f"says_{name}")
            assert packed["answer_rank"].reshape(shape)[row.prompt_id, 0, kind] == getattr(row, f"answer_rank_{name}")
            assert packed["memory_rank"].reshape(shape)[row.prompt_id, 0, kind] == getattr(row, f"memory_rank_{name}")
    logits = packed["answer_logit"].reshape(shape)
    assert (np.diff(logits[:, :, 0] - logits[:, :, 1]) <= 1e-6).all()


def test_a_large_study_fits(tables: dict[str, Any], tmp_path: Path) -> None:
    grid(1000, 36, 15).to_parquet(tmp_path / "large.parquet")
    page = explorer.render(**{**tables, "sweeps": {OURS: tmp_path / "large.parquet"}})
    assert '"has_cells": true' in page
    assert len(page.encode()) < 30e6


def test_what_does_not_fit_is_left_out(tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explorer.render(**tables)
    packed = sum(map(len, re.findall(r'<script type="text/plain" id="[^"]*">([^<]*)<', whole)))
    monkeypatch.setattr(explorer, "LIMIT", packed - 1)
    index = json.loads(re.findall(r'id="index">(.*?)</script>', explorer.render(**tables))[0])
    assert {sweep["memories"]: sweep["has_cells"] for sweep in index["sweeps"]} == {"curated": True, "nouns": False}


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(explorer.render(**tables), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A tab that must neither complain nor ask for anything but the page's own file."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(5000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("file:") else problems.append(request.url))
    yield page
    page.close()
    assert not problems


def number(text: str) -> float:
    """The first number that a reader sees in a text."""
    found = re.search(r"[+−-]?[\d,]+(?:\.\d+)?(?:e[+−]\d+)?", text)
    assert found, text
    return float(found[0].replace("−", "-").replace(",", ""))


def percent(value: float) -> str:
    return f"{value:+,.1f} %".replace("-", "−")


def labels(page: "Page", part: str) -> dict[tuple[int, float], str]:
    """What each cell of a map says, by layer and magnitude."""
    texts = page.locator(f"{part} td[data-site]").evaluate_all("cells => cells.map(cell => cell.ariaLabel)")
    found = [re.fullmatch(r"layer (\d+), magnitude ([\d.]+): ([^,]*(?:,\d{3})*[^,]*)(?:, .*)?", text) for text in texts]
    return {(int(match[1]), float(match[2])): match[3] for match in found if match}


def choose(page: "Page", **parts: str) -> None:
    for name, value in parts.items():
        page.locator(f"select[name={name}]").select_option(value)


def test_numbers_follow_every_control(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    for name in (OURS, RANDOM, THEIRS):
        choose(page, **vars(name))
        sites = averages_by_site(pd.read_parquet(tables["sweeps"][name]))
        for average, label in AVERAGES.items():
            page.get_by_role("radio", name=label, exact=True).check()
            layer, magnitude = best_site(sites, average)
            here = sites.loc[(layer, magnitude)]
            headline = page.locator("#headline", has_text=f"By the {label}, ")
            text = headline.inner_text()
            assert f"at layer {layer}, magnitude {magnitude:g}:" in text
            assert percent(here[average]) in text
            *averages, improved = page.locator("#sites tbody tr").first.get_by_role("cell").all_inner_texts()
            assert averages == [percent(here[other]) for other in AVERAGES]
            assert improved.startswith(f"{here['n_improved']:.0f} of {here['n_prompts']:.0f} (")
            values = {site: percent(value) for site, value in sites[average].items()}
            assert labels(page, "#map") == values
    assert "reported" not in page.locator("#sites").inner_text()
    choose(page, **vars(RANDOM))
    assert "layer 7, magnitude 3, not in this grid" in page.locator("#sites").inner_text()


def test_the_authors_site(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    page.locator("#sites tr", has_text="reported by the authors").get_by_role("link").click()
    expected = averages_by_site(pd.read_parquet(tables["sweeps"][OURS])).loc[(7, 3.0)]
    row = page.locator("#sites tr", has_text="reported by the authors")
    assert row.get_by_role("cell").all_inner_texts()[:4] == [percent(expected[name]) for name in AVERAGES]
    assert "layer 7, magnitude 3" in page.locator("#prompts-title", has_text="magnitude 3").inner_text()


def test_colours_are_those_of_the_figures(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    page.locator("#map td[data-site]").first.wait_for()
    values = averages_by_site(pd.read_parquet(tables["sweeps"][OURS]))["mean"]
    limit = values.abs().max()
    norm = SymLogNorm(LINEAR_BELOW, vmin=-limit, vmax=limit)
    expected = 255 * mpl.colormaps[DIVERGING](norm(values.to_numpy()))[:, :3]
    drawn = {}
    for site, colour in page.locator("#map td[data-site]").evaluate_all(
        "cells => cells.map(cell => [cell.dataset.site, cell.style.backgroundColor])"
    ):
        drawn[int(site)] = [int(part) for part in re.findall(r"\d+", colour)]
    assert np.abs(np.array([drawn[site] for site in range(len(values))]) - expected).max() <= 3
    assert page.evaluate("colour(0, 1000)") == [247, 247, 247]


def rows(page: "Page") -> dict[int, list[str]]:
    """The texts of the table's cells by prompt, in the table's order."""
    read = "rows => rows.map(row => [row.dataset.prompt, [...row.children].map(cell => cell.innerText)])"
    return {int(prompt): texts for prompt, texts in page.locator(".prompts tbody tr").evaluate_all(read)}


def test_prompts_of_a_site(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#layer=5&magnitude=3")
    cells = at_site(pd.read_parquet(tables["sweeps"][OURS]), 5, 3).assign(change=percent_change).set_index("prompt_id")
    page.locator("#prompts-title", has_text="layer 5, magnitude 3").wait_for()
    found = rows(page)
    assert sorted(found) == list(range(N_PROMPTS))
    for prompt, row in found.items():
        cell = cells.loc[prompt]
        assert row[:3] == [f"</script><b>“{prompt:02}”</b> & 'the'", f"answer {prompt:02}", cell["memory"]]
        assert number(row[3]) == pytest.approx(cell["p_obscure"], rel=6e-3)
        assert number(row[4]) == pytest.approx(cell["p_injected"], rel=7e-3)
        if prompt == 2:
            assert row[5] == "–"
        else:
            assert number(row[5]) == pytest.approx(cell["change"], rel=7e-3, abs=0.15)
        assert [number(text) for text in row[6:8]] == [cell["rank_obscure"], cell["rank_injected"]]
        assert row[8] == cell["top_token"].strip()
    columns = ["prompt", "prompt", "prompt", "p_obscure", "p_injected", "change", "rank_obscure", "rank_injected"]
    values = cells.assign(prompt=cells.index)
    for place, column in enumerate(columns):
        for direction in ("ascending", "descending") if column == "prompt" else ("descending", "ascending"):
            page.locator(".prompts thead button").nth(place).click()
            in_order = values.loc[list(rows(page)), column]
            known = in_order.dropna() if direction == "ascending" else in_order.dropna()[::-1]
            assert known.is_monotonic_increasing
            assert not in_order.isna().iloc[:-1].any()
            assert page.locator(".prompts [aria-sort]").get_attribute("aria-sort") == direction
    page.locator(".prompts thead button").nth(8).click()
    tokens = [row[8] for row in rows(page).values()]
    assert tokens == sorted(tokens, key=lambda token: int(token.split()[1]))


def test_one_prompt(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#layer=5&magnitude=3")
    page.locator("tr[data-prompt='7'] a").click()
    page.locator("#prompt-title", has_text="Prompt 7").wait_for()
    cells = pd.read_parquet(tables["sweeps"][OURS]).query("prompt_id == 7").assign(change=percent_change)
    said = labels(page, "#prompt-map")
    assert len(said) == len(cells)
    for cell in cells.itertuples():
        assert number(said[cell.layer, cell.magnitude]) == pytest.approx(cell.change, rel=7e-3, abs=0.15)
    pair = page.locator("#pair").inner_text()
    for text in ("explicit_prompt 07", "</script><b>“07”</b> & 'the'", "answer 07", "memory 7"):
        assert text in pair
    packed = unpack(explorer.pack_heads(*tables["heads"]["gpt2", "hand"]))
    first = 7 * explorer.N_HEADS
    row = page.locator(".heads tbody tr")
    assert row.count() == explorer.N_HEADS
    assert f"layer {packed['layer'][first]}, head {packed['head'][first]}" in row.first.inner_text()
    tokens = packed["token"].reshape(N_PROMPTS, explorer.N_HEADS, 2, -1)[7, 0]
    marked = row.first.locator("mark.answer").all_inner_texts()
    expected = []
    for kind in (0, 1):
        assert " · ".join(packed["tokens"][code].strip() for code in tokens[kind]) in row.first.inner_text()
        rank = packed["answer_rank"][2 * first + kind]
        expected += [packed["tokens"][tokens[kind][rank]].strip()] if rank < tokens.shape[1] else []
    assert marked == expected


def test_a_walk_by_keyboard(page: "Page", address: str) -> None:
    page.goto(f"{address}#layer=4&magnitude=1")
    page.locator("#prompts-title", has_text="layer 4").wait_for()
    focused = "document.activeElement.ariaLabel ?? document.activeElement.textContent"

    def press(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        return str(page.evaluate(focused))

    reached: list[str] = []
    while "gridcell" not in reached and len(reached) < 20:
        press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.role || 'other'"))
    assert [name for name in reached if name != "other"] == [
        "model", "dataset", "encoding", "memories", "average", "gridcell",
    ]  # fmt: skip
    assert page.evaluate(focused).startswith("layer 4, magnitude 1:")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert press("ArrowRight").startswith("layer 5, magnitude 1:")
    assert press("ArrowUp").startswith("layer 5, magnitude 3:")
    assert press("ArrowUp").startswith("layer 5, magnitude 3:")
    assert press("Home").startswith("layer 0, magnitude 3:")
    assert press("End", "ArrowDown", "ArrowLeft").startswith("layer 7, magnitude 1:")
    assert "layer=4" in page.url
    press("Enter")
    page.locator("#prompts-title", has_text="layer 7, magnitude 1").wait_for()
    assert "layer=7&magnitude=1" in page.url
    assert page.evaluate(focused).startswith("layer 7, magnitude 1:")
    press("Tab", "Tab", "Enter")
    assert page.locator(".prompts [aria-sort]").inner_text() == "obscure prompt"
    for _ in range(9):
        press("Tab")
    press("Enter")
    page.locator("#prompt-title", has_text="Prompt 0").wait_for()
    assert page.evaluate("document.activeElement.id") == "prompt-title"
    press("Tab", "ArrowLeft", "Enter")
    page.locator("#prompts-title", has_text="layer 6, magnitude 1").wait_for()
    assert "prompt=0" in page.url


def test_a_link_leads_to_the_selection(page: "Page", address: str) -> None:
    page.goto(address)
    page.get_by_role("radio", name="median", exact=True).check()
    choose(page, memories="nouns")
    page.locator("#map td[data-site='2']").click()
    page.locator("tr[data-prompt='9'] a").click()
    page.locator("#prompt-title", has_text="Prompt 9").wait_for()
    link, text = page.url, page.locator("main").inner_text()
    page.goto("about:blank")
    page.goto(link)
    page.locator("#prompt-title", has_text="Prompt 9").wait_for()
    assert page.locator("main").inner_text() == text
    page.go_back()
    page.goto(f"{address}#model=none&average=none&layer=99&magnitude=x&prompt=-1")
    assert "By the mean, curated memories" in page.locator("#headline", has_text="By").inner_text()


def test_the_authors_results_lack_texts(page: "Page", address: str) -> None:
    page.goto(f"{address}#model={THEIRS.model}")
    page.locator(".prompts").wait_for()
    assert page.locator(".prompts thead button").all_inner_texts() == [
        "prompt", "memory", "p before", "p after", "change", "top token after",
    ]  # fmt: skip
    page.locator("tr[data-prompt='3'] a", has_text="prompt 3").click()
    page.locator("#prompt-title", has_text="Prompt 3").wait_for()
    assert "explicit prompt\n" not in page.locator("#pair").inner_text()
    assert not page.locator("#heads").inner_text()


def test_a_sweep_without_cells_says_so(
    page: "Page", tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer, "LIMIT", 0)
    (tmp_path / "explorer.html").write_text(explorer.render(**tables), encoding="utf-8")
    page.goto((tmp_path / "explorer.html").as_uri())
    assert "injections/gpt2/hand/curated.unembed.parquet" in page.locator(".note").inner_text()
    assert page.locator("#map td[data-site]").count() == len(LAYERS) * len(MAGNITUDES)
    assert page.locator("#prompt").is_hidden()


def test_a_phone(browser: "Browser", address: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.goto(f"{address}#layer=4&magnitude=1&prompt=5")
    page.locator("#prompt-title", has_text="Prompt 5").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    page.locator("#map td[aria-selected=true]").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("layer 5, magnitude 1:")
    page.close()
