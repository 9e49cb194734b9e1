"""What a reader asks of the explorer's page: evidence, filters, steps, a download, a comparison, what is not there."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from explorer_page import choose, choose_sweep, number
from explorer_tables import N_PROMPTS, OURS, RANDOM, THEIRS
from memory_injections.analysis.averages import average_sites, measure_effect, select_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = "layer=5&magnitude=3"


def shown(page: "Page") -> list[int]:
    """The prompts in the table, in its order."""
    return page.locator(".prompts tbody tr").evaluate_all("rows => rows.map(row => Number(row.dataset.prompt))")


def cells_here(tables: dict[str, Any]) -> pd.DataFrame:
    cells = select_site(pd.read_parquet(tables["sweeps"][OURS]), 5, 3)
    return cells.assign(effect=measure_effect).set_index("prompt_id").sort_values("effect", ascending=False)


def test_the_evidence_stands_beside_the_headline(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    for name, row in zip((THEIRS, RANDOM, OURS), tables["tables"]["evidence"].itertuples(), strict=True):
        choose_sweep(page, name)
        text = page.locator("#evidence-text", has_text=f"{row.effect:+.2f} nats").inner_text()
        assert f"[{row.low:+.2f}, {row.high:+.2f}]" in text
        for part in (
            "most often layer 5, magnitude 3",
            "6 clusters by memory, p = 0.03",
            "0.20 nats",
            "zero: p = 0.004",
        ):
            assert part in text
        assert page.locator("#contrasts").is_visible() == (name == OURS)
        assert "hits change" not in text
    page.get_by_role("radio", name="rescued answers").check()
    gain = "There, hits change by −4.0 % of the prompts [−10.0, +2.0], p = 0.3."
    page.locator("#evidence-text", has_text=gain).wait_for()
    summary = page.locator("#contrasts summary")
    assert summary.inner_text().startswith("Less than another prompt's memory: −0.25 nats (no interval")
    summary.focus()
    page.keyboard.press("Enter")
    rows = page.locator("#contrasts tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows[1:]] == [
        [name, other, "+0.25 nats", "+0.50 nats [+0.25, +0.75]"]
        for name, other in (
            ("a random direction of the same length", "−0.25 nats"),
            ("random words (nouns)", "+0.13 nats"),
        )
    ]
    page.locator("#map td[data-site]").first.click()
    assert page.locator("#contrasts table").is_visible()


@pytest.mark.parametrize(
    ("asked", "lacking", "instead"),
    [
        ("model=none", "the model “none”, which is", "“gpt2”"),
        ("dataset=x&memories=y", "the data set “x” and the memories “y”, which are", "“hand” and “curated”"),
        ("model=gpt2-large&encoding=unembed", "the encoding “unembed”, which is", "“layer”"),
        ("layer=99&magnitude=1", "the site layer 99, magnitude 1, which is", "layer "),
        ("layer=5", "the site layer 5, magnitude –, which is", "layer "),
        ("prompt=-1", "prompt -1, which is", "no single prompt"),
        ("average=constructor", "the measure “constructor”, which is", "the mean effect"),
        ("model=gpt2-large&average=rescued", "the measure “rescued”, which is", "the mean effect"),
        ("compare=a/b", "a comparison with “a/b”, which is", "one sweep"),
        (
            "outcome=lost&hops=7",
            "“7” in the filter “Both hops known” and “lost” in the filter “Outcome”, which are",
            "",
        ),
    ],
)
def test_a_link_that_asks_for_what_is_not_there(
    page: "Page", address: str, asked: str, lacking: str, instead: str
) -> None:
    page.goto(f"{address}#{asked}")
    notice = page.locator("#notice", has_text="The address asks for").inner_text()
    assert notice.startswith(f"The address asks for {lacking} not here; shown instead: {instead}")
    page.goto("about:blank")
    page.goto(f"{address}#{HERE}&prompt=3&outcome=rescued")
    page.locator("#prompt-title", has_text="Prompt 3").wait_for()
    assert page.locator("#notice").is_hidden()


def test_filters_and_search(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#{HERE}")
    cells = cells_here(tables)
    was, is_now = cells["rank_obscure"] == 0, cells["rank_injected"] == 0
    hops = cells.index.to_series() % 4
    has_description = cells.index < N_PROMPTS - 1
    kept = {
        ("explicit", "better"): cells["p_explicit"] > cells["p_obscure"],
        ("hops", "1"): (hops < 1) & has_description,
        ("hops", "3"): (hops < 3) & has_description,
        ("outcome", "rescued"): ~was & is_now,
        ("outcome", "broken"): was & ~is_now,
        ("outcome", "hit"): was & is_now,
        ("outcome", "missed"): ~was & ~is_now,
        ("outcome", "memory"): cells.index == 7,
    }
    for (name, value), keeps in kept.items():
        page.locator(f"select[name={name}]").select_option(value)
        page.locator("#prompts-body [role=status]", has_text=f"{keeps.sum()} of {N_PROMPTS} prompts").wait_for()
        assert shown(page) == cells.index[keeps].tolist()
        assert f"{name}={value}" in page.url
        option = page.locator(f"select[name={name}] option[value='{value}']").inner_text()
        assert option.endswith(f"({keeps.sum()})")
        page.locator(f"select[name={name}]").select_option("")
    page.locator("select[name=explicit]").select_option("better")
    page.locator("select[name=hops]").select_option("3")
    both = kept["explicit", "better"] & kept["hops", "3"]
    page.locator("#prompts-body [role=status]", has_text=f"{both.sum()} of").wait_for()
    page.locator("input[name=search]").press_sequentially("ÁNSWER 0")
    both &= cells.index < 10
    page.locator("#prompts-body [role=status]", has_text=f"{both.sum()} of").wait_for()
    assert page.evaluate("document.activeElement.name") == "search"
    page.locator(".prompts thead button", has_text="p before").click()
    expected = cells[both].sort_values("p_obscure", ascending=False).index.tolist()
    assert shown(page) == expected
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    page.locator(".prompts tbody tr").first.wait_for()
    assert shown(page) == expected
    assert page.locator("input[name=search]").input_value() == "ÁNSWER 0"
    assert page.locator("select[name=hops]").input_value() == "3"


def test_next_and_previous_follow_the_table(page: "Page", address: str, tables: dict[str, Any]) -> None:
    cells = cells_here(tables)
    missed = cells[(cells["rank_obscure"] > 0) & (cells["rank_injected"] > 0)].index.tolist()
    page.goto(f"{address}#{HERE}&outcome=missed&prompt={missed[0]}")
    page.locator("#prompt-title", has_text=f"Prompt {missed[0]}").wait_for()
    page.locator("#next").focus()
    for place, prompt in [*[*enumerate(missed)][1:], (0, missed[0])]:
        page.keyboard.press("Enter")
        page.locator("#place", has_text=f"{place + 1} of {len(missed)} ").wait_for()
        assert page.locator("#prompt-title").inner_text() == f"Prompt {prompt}"
        assert page.locator(".prompts tr[aria-current]").get_attribute("data-prompt") == str(prompt)
    page.locator("#previous").click()
    page.locator("#prompt-title", has_text=f"Prompt {missed[-1]}").wait_for()
    other = next(prompt for prompt in cells.index if prompt not in missed)
    for button, prompt in (("next", missed[0]), ("previous", missed[-1])):
        page.goto(f"{address}#{HERE}&outcome=missed&prompt={other}")
        page.locator("#place", has_text="not among").wait_for()
        page.locator(f"#{button}").click()
        page.locator("#prompt-title", has_text=f"Prompt {prompt}").wait_for()


def test_a_mark_where_the_memory_became_the_top_token(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#{HERE}&prompt=7")
    page.locator("#prompt-title", has_text="Prompt 7").wait_for()
    assert page.locator(".prompts mark.memory").all_inner_texts() == ["token 115"]
    hits = cells_here(tables)["rank_injected"] == 0
    assert page.locator(".prompts td:last-child mark.answer").count() == hits.sum()
    said = page.locator("#pair div", has_text="most probable token").locator("dd").inner_text()
    assert said == "before 7 after the obscure prompt, token 115 with the injection, the memory's own first token"
    choose(page, memories="nouns")
    page.locator("#headline", has_text="random memories").wait_for()
    assert page.locator("select[name=outcome] option[value=memory]").count() == 0


def test_the_download_is_what_is_shown(
    page: "Page", browser: "Browser", tables: dict[str, Any], tmp_path: Path, address: str
) -> None:
    page.goto(f"{address}#{HERE}&explicit=better")
    page.locator(".prompts tbody tr").first.wait_for()
    with page.expect_download() as caught:
        page.locator("#download").click()
    assert caught.value.suggested_filename == "prompts.gpt2.hand.unembed.curated.layer-5.magnitude-3.csv"
    table = pd.read_csv(caught.value.path()).set_index("prompt_id")
    assert table.index.tolist() == shown(page)
    cells = cells_here(tables).loc[table.index]
    for column in ("p_explicit", "p_obscure", "p_injected", "rank_obscure", "rank_injected", "effect"):
        assert table[column].to_numpy() == pytest.approx(cells[column].to_numpy(), rel=2e-3, abs=1e-3)
    assert table["memory"].tolist() == cells["memory"].tolist()
    assert table["top_token"].tolist() == cells["top_token"].tolist()
    assert table["top_token_before"].tolist() == [f" before {prompt}" for prompt in table.index]
    assert table["obscure_prompt"].tolist() == [f"</script><b>“{prompt:02}”</b> & 'the'" for prompt in table.index]
    assert set(table["model"] + table["dataset"] + table["layer"].astype(str)) == {"gpt2hand5"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-a", "@x", "'=1", "\t=1"])
def test_a_spreadsheet_runs_no_text_of_the_download(page: "Page", address: str, text: str) -> None:
    page.goto(address)
    (row,) = csv.reader([page.evaluate("(text) => fieldText(text)", text)])
    assert row == [f"'{text}"]
    assert page.evaluate("[-1.5, null, 'a, \"b\"', NaN, 3, false].map(fieldText)") == [
        "-1.5",
        "",
        '"a, ""b"""',
        "",
        "3",
        "false",
    ]


def test_two_sweeps_on_one_scale(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(f"{address}#layer=3&magnitude=1")
    page.locator("select[name=compare]").select_option("gpt2/hand/unembed/nouns")
    page.locator("#other-caption", has_text="gpt2, hand, unembed, nouns: best at").wait_for()
    assert "compare=gpt2%2Fhand%2Funembed%2Fnouns" in page.url
    ours, theirs = (average_sites(pd.read_parquet(tables["sweeps"][name]))["effect"] for name in (OURS, RANDOM))
    both = pd.concat([ours, theirs])
    gains = both[both > 0]
    limit = min(both.abs().max(), max(np.log(2), 2 * np.quantile(gains, 0.9, method="lower")))
    for part, effects in (("#map", ours), ("#other-map", theirs)):
        ends = page.locator(f"{part} .legend span").all_inner_texts()
        assert max(map(number, ends)) == pytest.approx(limit, abs=6e-3)
        cells = page.locator(f"{part} td[data-site]")
        assert cells.count() == len(effects)
        drawn = cells.evaluate_all(
            "found => found.map(({ dataset, style }) => [Number(dataset.site), style.backgroundColor])"
        )
        for site, colour in drawn:
            red, green, blue = page.evaluate(f"colour({effects.iloc[site]}, {limit})")
            assert colour == f"rgb({red}, {green}, {blue})"
        chosen = page.locator(f"{part} td[aria-selected=true]").evaluate("cell => cell.ariaLabel")
        assert chosen.startswith("layer 3, magnitude 1:")
    left, right = (page.locator(part).bounding_box() for part in ("#map", "#other-map"))
    assert left is not None
    assert right is not None
    assert left["y"] == pytest.approx(right["y"], abs=30)
    page.locator("#other-map td[data-site='0']").click()
    page.locator("#prompts-title", has_text="layer 0, magnitude 1").wait_for()
    page.goto("about:blank")
    page.goto(f"{address}#average=rescued&compare=gpt2-large/2wmh/layer/curated")
    page.locator("#other-caption", has_text="no ranks are known").wait_for()
    assert page.locator("#other-map").is_hidden()
    choose(page, compare="")
    page.locator("#other").wait_for(state="hidden")
    assert "compare" not in page.url
