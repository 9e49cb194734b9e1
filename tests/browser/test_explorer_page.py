"""The explorer's page in a browser shows the right numbers."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from explorer_tables import LAYERS, MAGNITUDES, N_PROMPTS, OURS, RANDOM, THEIRS, tables_in, unpack
from memory_injections.analysis.averages import (
    EFFECTS,
    average_sites,
    find_best_site,
    measure_change,
    measure_effect,
    select_site,
)
from memory_injections.analysis.hits import count_hits_by_site
from memory_injections.pages import explorer
from memory_injections.pages.figures import DIVERGING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LABELS = {**explorer.MEASURES["effect"], **explorer.MEASURES["percent"]}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tables_in(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium, driven by Playwright; if REQUIRE_CHROMIUM is set, the tests fail without it."""
    missing = pytest.fail if os.environ.get("REQUIRE_CHROMIUM") else pytest.skip
    try:
        import playwright.sync_api as api
    except ModuleNotFoundError:
        missing("playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        missing("no Chromium on this machine")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    path.write_text(explorer.render_explorer(**tables), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A tab that must report no errors and request only the page's own file."""
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


def write(measure: str, value: float) -> str:
    """A site's value as the page writes it."""
    text = f"{value:+.2f} nats" if measure in EFFECTS else f"{value:+,.1f} %"
    # Zero has no sign.
    return re.sub(r"^[+-](0\.0+ )", r"\1", text).replace("-", "−")


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
        choose(page, **name.columns)
        sites = average_sites(pd.read_parquet(tables["sweeps"][name]))
        for measure, label in LABELS.items():
            page.get_by_role("radio", name=label, exact=True).check()
            layer, magnitude = find_best_site(sites, measure)
            here = sites.loc[(layer, magnitude)]
            headline = page.locator("#headline", has_text=f"By the {label}, ")
            text = headline.inner_text()
            assert f"at layer {layer}, magnitude {magnitude:g}:" in text
            assert write(measure, here[measure]) in text
            cells = page.locator("#sites tbody tr").first.get_by_role("cell").all_inner_texts()
            assert cells[: len(LABELS)] == [write(other, here[other]) for other in LABELS]
            assert cells[-1].startswith(f"{here['n_improved']:.0f} of {here['n_prompts']:.0f} (")
            values = {site: write(measure, value) for site, value in sites[measure].items()}
            assert labels(page, "#map") == values
    assert "reported" not in page.locator("#sites").inner_text()
    choose(page, **RANDOM.columns)
    assert "layer 6 (the paper's layer 7), magnitude 3, not in this grid" in page.locator("#sites").inner_text()


def test_hits_are_shown_where_ranks_are_known(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    hits = count_hits_by_site(pd.read_parquet(tables["sweeps"][OURS]))
    for label, part, whole in (("rescued answers", "n_rescued", "n_missed"), ("broken answers", "n_broken", "n_hit")):
        page.get_by_role("radio", name=label, exact=True).check()
        page.locator("#headline", has_text=f"By {label}, ").wait_for()
        for site, text in labels(page, "#map").items():
            assert text.startswith(f"{hits.loc[site, part]:.0f} of {hits.loc[site, whole]:.0f} (")
    page.get_by_role("radio", name="hits@1", exact=True).check()
    page.locator("#headline", has_text="By hits@1, ").wait_for()
    for site, text in labels(page, "#map").items():
        assert number(text) == pytest.approx(100 * hits.loc[site, "hits_1"], abs=0.51)
    choose(page, **THEIRS.columns)
    page.locator("#headline", has_text="By the mean effect, ").wait_for()
    assert page.get_by_role("radio", name="hits@1", exact=True).is_hidden()


def test_the_papers_site(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    page.locator("#sites tr", has_text="reported in the paper").get_by_role("link").click()
    expected = average_sites(pd.read_parquet(tables["sweeps"][OURS])).loc[(6, 3.0)]
    row = page.locator("#sites tr", has_text="reported in the paper")
    assert "layer 6 (the paper's layer 7), magnitude 3" in row.inner_text()
    shown = row.get_by_role("cell").all_inner_texts()[: len(LABELS)]
    assert shown == [write(name, expected[name]) for name in LABELS]
    assert "layer 6, magnitude 3" in page.locator("#prompts-title", has_text="magnitude 3").inner_text()


def read_colours(page: "Page") -> dict[int, list[int]]:
    """The colour of each cell of the map, by site."""
    read = "cells => cells.map(cell => [cell.dataset.site, cell.style.backgroundColor])"
    cells = page.locator("#map td[data-site]").evaluate_all(read)
    return {int(site): [int(part) for part in re.findall(r"\d+", colour)] for site, colour in cells}


def test_colours_are_symmetric_in_nats(page: "Page", address: str, tables: dict[str, Any]) -> None:
    sites = average_sites(pd.read_parquet(tables["sweeps"][OURS]))
    for measure in ("effect", "mean"):
        page.goto("about:blank")
        page.goto(f"{address}#average={measure}")
        page.locator("#headline", has_text=f"By the {LABELS[measure]}, ").wait_for()
        nats = sites[measure] if measure == "effect" else np.log1p(sites[measure] / 100)
        limit = page.evaluate("maps.site.limit")
        assert 0 < limit <= nats.abs().max() + 1e-9
        expected = 255 * mpl.colormaps[DIVERGING](np.clip(0.5 + nats.to_numpy() / limit / 2, 0, 1))[:, :3]
        drawn = read_colours(page)
        assert np.abs(np.array([drawn[site] for site in range(len(nats))]) - expected).max() <= 3
    assert page.evaluate("colour(0, 1)") == [247, 247, 247]
    halved, doubled = page.evaluate("[colour(-Math.LN2, 1), colour(Math.LN2, 1)]")
    assert (halved[2] > halved[0], doubled[0] > doubled[2]) == (True, True)


def rows(page: "Page") -> dict[int, list[str]]:
    """The texts of the table's cells by prompt, in the table's order."""
    read = "rows => rows.map(row => [row.dataset.prompt, [...row.children].map(cell => cell.innerText)])"
    return {int(prompt): texts for prompt, texts in page.locator(".prompts tbody tr").evaluate_all(read)}


def test_prompts_of_a_site(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#layer=5&magnitude=3")
    cells = (
        select_site(pd.read_parquet(tables["sweeps"][OURS]), 5, 3)
        .assign(change=measure_change, effect=measure_effect)
        .set_index("prompt_id")
    )
    page.locator("#prompts-title", has_text="layer 5, magnitude 3").wait_for()
    found = rows(page)
    assert sorted(found) == list(range(N_PROMPTS))
    for prompt, row in found.items():
        cell = cells.loc[prompt]
        assert row[:3] == [f"</script><b>“{prompt:02}”</b> & 'the'", f"answer {prompt:02}", cell["memory"]]
        assert number(row[3]) == pytest.approx(cell["p_obscure"], rel=6e-3)
        assert number(row[4]) == pytest.approx(cell["p_injected"], rel=7e-3)
        assert number(row[5]) == pytest.approx(cell["effect"], abs=6e-3)
        if prompt == 2:
            assert row[6] == "–"
        else:
            assert number(row[6]) == pytest.approx(cell["change"], rel=7e-3, abs=0.15)
        assert [number(text) for text in row[7:9]] == [cell["rank_obscure"], cell["rank_injected"]]
        was, is_now = cell["rank_obscure"] == 0, cell["rank_injected"] == 0
        assert ("rescued" in row[9], "broken" in row[9]) == (is_now and not was, was and not is_now)
        assert row[10] == cell["top_token"].strip()
    columns = [
        "prompt", "prompt", "prompt", "p_obscure", "p_injected", "effect", "change", "rank_obscure", "rank_injected",
    ]  # fmt: skip
    values = cells.assign(prompt=cells.index)
    for place, column in enumerate(columns):
        for direction in ("ascending", "descending") if column == "prompt" else ("descending", "ascending"):
            page.locator(".prompts thead button").nth(place).click()
            in_order = values.loc[list(rows(page)), column]
            known = in_order.dropna() if direction == "ascending" else in_order.dropna()[::-1]
            assert known.is_monotonic_increasing
            assert not in_order.isna().iloc[:-1].any()
            assert page.locator(".prompts [aria-sort]").get_attribute("aria-sort") == direction
    page.locator(".prompts thead button").nth(10).click()
    tokens = [row[10] for row in rows(page).values()]
    assert tokens == sorted(tokens, key=lambda token: int(token.split()[1]))


def test_one_prompt(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#layer=5&magnitude=3")
    page.locator("tr[data-prompt='7'] a").click()
    page.locator("#prompt-title", has_text="Prompt 7").wait_for()
    cells = pd.read_parquet(tables["sweeps"][OURS]).query("prompt_id == 7").assign(effect=measure_effect)
    said = labels(page, "#prompt-map")
    assert len(said) == len(cells)
    for cell in cells.itertuples():
        assert number(said[cell.layer, cell.magnitude]) == pytest.approx(cell.effect, abs=6e-3)
    pair = page.locator("#pair").inner_text()
    for text in ("explicit_prompt 07", "</script><b>“07”</b> & 'the'", "answer 07", "memory 7"):
        assert text in pair
    packed = unpack(explorer.pack_heads(*tables["heads"][0]))
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
    for _ in range(11):
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
    assert "average=median" in page.url
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
    assert "By the mean effect, curated memories" in page.locator("#headline", has_text="By").inner_text()


def test_the_authors_results_lack_texts(page: "Page", address: str) -> None:
    page.goto(f"{address}#model={THEIRS.model}")
    page.locator(".prompts").wait_for()
    assert page.locator(".prompts thead button").all_inner_texts() == [
        "prompt", "memory", "p before", "p after", "effect", "change", "top token after",
    ]  # fmt: skip
    page.locator("tr[data-prompt='3'] a", has_text="prompt 3").click()
    page.locator("#prompt-title", has_text="Prompt 3").wait_for()
    assert "explicit prompt\n" not in page.locator("#pair").inner_text()
    assert not page.locator("#heads").inner_text()


def test_a_sweep_without_cells_says_so(
    page: "Page", tables: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer, "LIMIT", 0)
    (tmp_path / "explorer.html").write_text(explorer.render_explorer(**tables), encoding="utf-8")
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
