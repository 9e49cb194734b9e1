"""Every measure of the explorer's page, as numbers and as colours, is what pandas makes of the cells."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from explorer_page import choose_sweep, labels, number
from explorer_tables import N_PROMPTS, OURS, RANDOM, THEIRS
from matplotlib.colors import Normalize
from memory_injections.analysis.averages import AVERAGES, average_sites
from memory_injections.pages import explorer

if TYPE_CHECKING:
    from playwright.sync_api import Page

LABELS = {key: label for group in explorer.MEASURES.values() for key, label in group.items()}
HITS = explorer.MEASURES["hits"]


def percent(value: float) -> str:
    return f"{value:+,.1f} %".replace("-", "−")


def nats(value: float) -> str:
    text = f"{value:+.2f}"
    return f"{text.lstrip('+-') if float(text) == 0 else text} nats".replace("-", "−")


def share(value: float) -> str:
    return f"{value:.0%}".replace("%", " %")


def counts(n: float, of: float) -> str:
    return f"{n:.0f} of {of:.0f} ({share(n / of)})" if of else "–"


def measured(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """By site, how good each measure is (higher is better), and what a reader sees of it."""
    cells = pd.read_parquet(path)
    sites = average_sites(cells)
    good = sites[["effect", "effect_median", *AVERAGES]].copy()
    texts = good.map(percent).assign(effect=sites["effect"].map(nats), effect_median=sites["effect_median"].map(nats))
    if cells["rank_injected"].notna().any():
        was, is_now = cells["rank_obscure"] == 0, cells["rank_injected"] == 0
        flags = pd.DataFrame({"was": was, "now": is_now, "rescued": ~was & is_now, "broken": was & ~is_now, "one": 1})
        n = flags.groupby([cells["layer"], cells["magnitude"]]).sum()
        missed = n["one"] - n["was"]
        good["hits_1"] = n["now"] / n["one"]
        good["rescued"] = n["rescued"] / missed
        good["broken"] = -n["broken"] / n["was"]
        texts["hits_1"] = [
            f"{share(now / one)} (before: {share(before / one)})"
            for now, before, one in n[["now", "was", "one"]].to_numpy()
        ]
        texts["rescued"] = list(map(counts, n["rescued"], missed))
        texts["broken"] = list(map(counts, n["broken"], n["was"]))
    return good, texts


def test_numbers_follow_every_control(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    for name in (OURS, RANDOM, THEIRS):
        choose_sweep(page, name)
        sites = average_sites(pd.read_parquet(tables["sweeps"][name]))
        good, texts = measured(tables["sweeps"][name])
        radios = page.get_by_role("radio")
        assert radios.count() == len(good.columns) == (7 if name == THEIRS else 10)
        for key in good:
            page.get_by_role("radio", name=LABELS[key], exact=True).check()
            if good[key].isna().all():
                page.locator("#headline", has_text=f"This sweep has no {LABELS[key]}: no answer was hit").wait_for()
                continue
            # Of sites that are equally good, the one with the highest mean effect.
            best = good.sort_values([key, "effect"]).index[-1]
            of = LABELS[key] if key in HITS else f"the {LABELS[key]}"
            text = page.locator("#headline", has_text=f"By {of}, ").inner_text()
            assert f"at layer {best[0]}, magnitude {best[1]:g}:" in text
            assert texts.loc[best, key].partition(" (before")[0].rpartition(" (")[0] in text
            n_equal = (good[key] == good.loc[best, key]).sum() - 1
            assert ("as well" in text) == (n_equal > 0)
            if n_equal > 1:
                assert f"{n_equal} other sites do as well" in text
            *found, improved = page.locator("#sites tbody tr").first.get_by_role("cell").all_inner_texts()
            assert found == texts.loc[best].tolist()
            assert improved == counts(*sites.loc[best, ["n_improved", "n_prompts"]])
            assert page.locator("#sites .current").first.inner_text() == texts.loc[best, key]
            assert labels(page, "#map") == texts[key].to_dict()
    assert "reported" not in page.locator("#sites").inner_text()
    choose_sweep(page, RANDOM)
    assert "layer 6 (the paper's layer 7), magnitude 3, not in this grid" in page.locator("#sites").inner_text()


def test_the_papers_site(page: "Page", address: str, tables: dict[str, Any]) -> None:
    page.goto(address)
    row = page.locator("#sites tr", has_text="reported in the paper")
    row.get_by_role("link", name="layer 6 (the paper's layer 7), magnitude 3").click()
    _, texts = measured(tables["sweeps"][OURS])
    assert "layer 6, magnitude 3" in page.locator("#prompts-title", has_text="magnitude 3").inner_text()
    assert row.get_by_role("cell").all_inner_texts()[:-1] == texts.loc[(6, 3.0)].tolist()
    said = page.locator("#map td[aria-selected=true]").evaluate("cell => cell.ariaLabel")
    assert said.endswith(", the paper's site")


def test_the_chosen_site_is_named_once(page: "Page", address: str) -> None:
    for site, expected in (("", 2), ("layer=6&magnitude=3", 2), ("layer=5&magnitude=3", 3)):
        page.goto("about:blank")
        page.goto(f"{address}#{site}")
        page.locator("#sites tr", has_text="chosen").wait_for()
        assert page.locator("#sites tbody tr").count() == expected


def strengths(path: Path, key: str) -> np.ndarray:
    """What the colour of every site stands for: nats, or a share's difference to before the injection."""
    good, _ = measured(path)
    if key in AVERAGES:
        return np.log1p(good[key].to_numpy() / 100)
    return good[key].to_numpy() - (4 / N_PROMPTS if key == "hits_1" else 0)


def scale(values: np.ndarray, enough: float) -> float:
    gains = values[values > 0]
    strong = 2 * np.quantile(gains, 0.9, method="lower") if len(gains) else 0
    return min(np.abs(values[np.isfinite(values)]).max(), max(enough, strong))


@pytest.mark.parametrize("key", ["effect", "mean", "median", "hits_1", "rescued", "broken"])
def test_colours_are_linear_in_nats(page: "Page", address: str, tables: dict[str, Any], key: str) -> None:
    page.goto(f"{address}#average={key}")
    page.locator("#map td[data-site]").first.wait_for()
    values = strengths(tables["sweeps"][OURS], key)
    limit = scale(values, {"hits_1": 0.1, "rescued": 0.1, "broken": 1.0}.get(key, float(np.log(2))))
    expected = 255 * mpl.colormaps["RdBu_r"](Normalize(-limit, limit, clip=True)(values))[:, :3]
    drawn = {}
    for site, colour in page.locator("#map td[data-site]").evaluate_all(
        "cells => cells.map(cell => [cell.dataset.site, cell.style.backgroundColor])"
    ):
        drawn[int(site)] = [int(part) for part in re.findall(r"\d+", colour)]
    assert np.abs(np.array([drawn[site] for site in range(len(values))]) - expected).max() <= 3
    low, high = page.locator("#map .legend span").evaluate_all(
        "spans => [0, 100].map(end => spans.find(span => parseFloat(span.style.left) === end).textContent)"
    )
    assert ("≥" in high, "≤" in low) == (values.max() > limit * (1 + 1e-9), values.min() < -limit * (1 + 1e-9))
    ends = {
        "effect": (limit, -limit),
        "mean": (100 * np.expm1(limit), 100 * np.expm1(-limit)),
        "median": (100 * np.expm1(limit), 100 * np.expm1(-limit)),
        "hits_1": (100 * limit, -100 * limit),
        "rescued": (100 * limit, 0),
        "broken": (0, 100 * limit),
    }[key]
    assert (number(high), number(low)) == pytest.approx(ends, rel=6e-3, abs=0.51 if key in HITS else 0.051)


def test_the_scale_serves_a_reader(page: "Page", address: str) -> None:
    page.goto(address)

    def limit(*values: float, minus_infinity: bool = False) -> float:
        extra = ", -Infinity" if minus_infinity else ""
        return float(page.evaluate(f"limitOf([{', '.join(map(str, values))}{extra}], Math.LN2)"))

    assert limit(*[0.5] * 10, 9) == pytest.approx(1), "one strong site bleaches the rest"
    assert limit(0.1, -8, -9) == pytest.approx(np.log(2)), "ruined answers bleach the rest"
    assert limit(0.1, -0.2) == pytest.approx(0.2), "the scale goes beyond what there is"
    assert limit(0.1, -0.2, minus_infinity=True) == pytest.approx(0.2), "minus infinity has no end"
    halved, doubled, ruined = page.evaluate(
        "MEASURES.find(({ key }) => key === 'mean').strengths({ mean: [-50, 100, -100] }).map(String)"
    )
    assert float(halved) == pytest.approx(-float(doubled))
    assert ruined == "-Infinity"
    assert page.evaluate("[0, -Infinity, Infinity].map((strength) => colour(strength, 1))") == [
        [247, 247, 247], [5, 48, 97], [103, 0, 31],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("n", "of", "expected"), [(1, 8, "12 %"), (3, 8, "38 %"), (21, 40, "52 %"), (2, 34, "6 %"), (29, 200, "14 %")]
)
def test_shares_are_those_of_the_report(page: "Page", address: str, n: int, of: int, expected: str) -> None:
    page.goto(address)
    assert page.evaluate(f"percentText({n} / {of})") == expected == share(n / of)


@pytest.mark.parametrize("average", ["mean", "mean_without_top", "median", "ratio_of_means"])
def test_a_link_from_before_there_were_effects(page: "Page", address: str, average: str) -> None:
    page.goto(
        f"{address}#model=gpt2&dataset=hand&encoding=unembed&memories=curated&average={average}&layer=4&magnitude=1"
    )
    page.get_by_role("radio", name=AVERAGES[average], exact=True, checked=True).wait_for()
    assert f"By the {AVERAGES[average]}, " in page.locator("#headline", has_text="By").inner_text()
    page.locator("#prompts-title", has_text="layer 4, magnitude 1").wait_for()
