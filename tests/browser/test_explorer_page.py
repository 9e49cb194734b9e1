"""The explorer's page in a browser shows the right numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from explorer_page import choose, labels, number
from explorer_tables import LAYERS, MAGNITUDES, N_PROMPTS, OURS, THEIRS, unpack
from memory_injections.analysis.averages import measure_change, measure_effect, select_site
from memory_injections.pages import explorer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def rows(page: "Page") -> dict[int, list[str]]:
    """The texts of the table's cells by prompt, in the table's order."""
    read = "rows => rows.map(row => [row.dataset.prompt, [...row.children].map(cell => cell.innerText)])"
    return {int(prompt): texts for prompt, texts in page.locator(".prompts tbody tr").evaluate_all(read)}


# By whether the answer was hit before the injection, and whether it is after.
OUTCOMES = {(True, True): "hit", (True, False): "broken", (False, True): "rescued", (False, False): "missed"}


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
        assert row[5].endswith(" nats")
        assert number(row[5]) == pytest.approx(cell["effect"], abs=6e-3)
        if prompt == 2:
            assert row[6] == "–"
        else:
            assert number(row[6]) == pytest.approx(cell["change"], rel=7e-3, abs=0.15)
        assert [number(text) for text in row[7:9]] == [cell["rank_obscure"], cell["rank_injected"]]
        assert row[9] == OUTCOMES[cell["rank_obscure"] == 0, cell["rank_injected"] == 0]
        assert row[10] == f"before {prompt}"
        assert row[11] == cell["top_token"].strip()
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
    page.locator(".prompts thead button").nth(9).click()
    outcomes = [row[9] for row in rows(page).values()]
    assert set(outcomes) == set(OUTCOMES.values())
    assert outcomes == sorted(outcomes, key=["rescued", "broken", "hit", "missed"].index)
    page.locator(".prompts thead button").nth(11).click()
    tokens = [row[11] for row in rows(page).values()]
    assert tokens == sorted(tokens, key=lambda token: int(token.split()[1]))


def test_one_prompt(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#layer=5&magnitude=3")
    page.locator("tr[data-prompt='7'] a").click()
    page.locator("#prompt-title", has_text="Prompt 7").wait_for()
    cells = pd.read_parquet(tables["sweeps"][OURS]).query("prompt_id == 7")
    cells = cells.assign(change=measure_change, effect=measure_effect)
    said = labels(page, "#prompt-map")
    assert len(said) == len(cells)
    for cell in cells.itertuples():
        effect, change = said[cell.layer, cell.magnitude].split(" (")
        assert number(effect) == pytest.approx(cell.effect, abs=6e-3)
        assert number(change) == pytest.approx(cell.change, rel=7e-3, abs=0.15)
    here = cells.query("layer == 5 and magnitude == 3").iloc[0]
    ranks = f"{here['rank_obscure']:,} after the obscure prompt, {here['rank_injected']:,} with the injection"
    pair = page.locator("#pair").inner_text()
    for text in ("explicit_prompt 07", "</script><b>“07”</b> & 'the'", "answer 07", "memory 7", ranks):
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
        "model", "dataset", "encoding", "memories", "compare", "average", "gridcell",
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
    for name in ("search", "explicit", "hops", "outcome"):
        press("Tab")
        assert page.evaluate("document.activeElement.name") == name
    assert press("Tab") == "Download as CSV"
    press("Tab", "Tab", "Enter")
    assert page.locator(".prompts [aria-sort]").inner_text() == "obscure prompt"
    for _ in range(12):
        press("Tab")
    press("Enter")
    page.locator("#prompt-title", has_text="Prompt 0").wait_for()
    assert page.evaluate("document.activeElement.id") == "prompt-title"
    assert press("Tab", "Tab") == "Next →"
    press("Enter")
    page.locator("#prompt-title", has_text="Prompt 1").wait_for()
    assert page.evaluate(focused) == "Next →"
    press("Shift+Tab", "Enter")
    page.locator("#prompt-title", has_text="Prompt 0").wait_for()
    press("Tab", "Tab", "ArrowLeft", "Enter")
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
    assert "By the mean effect, curated memories" in page.locator("#headline", has_text="By").inner_text()
    page.goto(f"{address}#average=constructor")
    page.get_by_role("radio", name="mean effect", checked=True).wait_for()


def test_the_authors_results_lack_texts(page: "Page", address: str) -> None:
    page.goto(f"{address}#model={THEIRS.model}")
    page.locator(".prompts").wait_for()
    assert page.locator(".prompts thead button").all_inner_texts() == [
        "prompt", "memory", "p before", "p after", "effect", "change", "top token after",
    ]  # fmt: skip
    text = page.locator("main").inner_text()
    for word in ("hit", "rescued", "broken", "Ranks", "most probable token"):
        assert word not in text
    page.goto(f"{address}#model={THEIRS.model}&average=rescued")
    page.get_by_role("radio", name="mean effect", checked=True).wait_for()
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
    assert "injections/gpt2/hand/curated.unembed.parquet" in page.locator("#prompts-body .note").inner_text()
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
