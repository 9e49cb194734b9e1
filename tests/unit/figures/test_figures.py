"""What figures show, and that the reports know every registered figure."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from matplotlib.collections import QuadMesh
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from memory_injections.controls.contrasts import DIFFERENCE
from memory_injections.figures.controls import breakdown, controls
from memory_injections.figures.heads import patching
from memory_injections.figures.injections import change, comparison, distribution, effect, headline
from memory_injections.figures.mechanisms import direct_effects, logit_lens
from memory_injections.jobs.results import write_checksums
from memory_injections.sweeps.identity import SweepId
from memory_injections.terms import TARGETS

sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
from figures import draw_figure, draw_figures


def cells(memories: str, p_obscure: list[float], p_injected: list[float], layer: int = 0) -> pd.DataFrame:
    sweep = SweepId("tiny", "mine", memories, "unembed")
    table = pd.DataFrame({"layer": layer, "magnitude": 1.0, "p_obscure": p_obscure, "p_injected": p_injected})
    logs = {f"logp_{kind}": np.log(table[f"p_{kind}"]) for kind in ("obscure", "injected")}
    return table.assign(prompt_id=range(len(table)), **logs, **sweep.columns)


def read_map(figure: Figure) -> tuple[list[float], Any]:
    """The values and the colour scale of a figure's first map."""
    (mesh,) = (child for child in figure.axes[0].get_children() if isinstance(child, QuadMesh))
    return np.asarray(mesh.get_array()).ravel().tolist(), mesh.norm


def test_comparison_draws_true_means_in_both_panels() -> None:
    sweeps = [cells(memories, [0.1, 0.1, 0.1], [0.1, 0.2, 0.8]) for memories in ("nouns", "curated")]
    figure = comparison(pd.concat(sweeps, ignore_index=True))
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["curated", "nouns"]
    for axes in figure.axes:
        diamonds = [line for line in axes.lines if line.get_marker() == "D"]
        values = [float(np.asarray(line.get_xdata())[0]) for line in diamonds]
        assert values == pytest.approx([np.log(16) / 3] * 2)


def test_no_prompt_falls_off_the_axis() -> None:
    curated = [
        cells("curated", [0.1] * 3, [0.09, 0.1, 0.3]),
        cells("curated", [0.1] * 3, [0.09, 0.11, 0.11], layer=1),
    ]
    random = [
        cells("nouns", [0.1] * 3, [0.1, 0.1, 0.1]),
        cells("nouns", [0.1] * 3, [0.0001, 0.1, 0.99], layer=1),
    ]
    for axes in comparison(pd.concat([*curated, *random], ignore_index=True)).axes:
        low, high = axes.get_xlim()
        dots = np.concatenate([np.asarray(dots.get_offsets())[:, 0] for dots in axes.collections])
        assert low < dots.min()
        assert dots.max() < high


def test_halved_and_doubled_probabilities_look_equally_strong() -> None:
    table = pd.concat([cells("curated", [0.1] * 3, [0.05] * 3), cells("curated", [0.1] * 3, [0.2] * 3, layer=1)])
    for draw in (effect, change):
        values, norm = read_map(draw(table))
        assert values == pytest.approx([-np.log(2), np.log(2)])
        assert isinstance(norm, SymLogNorm)
        assert (norm.vmin, norm.vmax) == pytest.approx((-np.log(2), np.log(2)))


def test_the_papers_map_is_that_of_its_own_average() -> None:
    table = cells("curated", [0.01] * 10, [0.011] * 8 + [0.012, 0.9])
    assert read_map(change(table))[0] == pytest.approx([np.log1p(1 / 9)])
    assert "best +11.1 % at layer 0, magnitude 1" in change(table).axes[0].get_title(loc="left")


def test_effects_stand_beside_those_of_controls() -> None:
    site = {"model": "tiny", "dataset": "mine", "encoding": "unembed", "relative": False, "magnitude": 2.0}
    rows = [("curated", 0), ("curated", 5), ("shuffled", 5), ("random_direction", 5), (DIFFERENCE, 5)]
    table = pd.DataFrame(rows, columns=["control", "layer"]).assign(**site)
    for number, part in enumerate(("effect", "direct", "indirect")):
        values = number + np.arange(len(rows))
        table = table.assign(**{part: values, f"{part}_low": values - 0.5, f"{part}_high": values + 0.5})
    over_layers, at_site = direct_effects(table).axes
    assert [np.asarray(line.get_xdata()).tolist() for line in over_layers.lines[:3]] == [[0, 5]] * 3
    labels = [" ".join(tick.get_text().split()) for tick in at_site.get_xticklabels()]
    assert labels == ["curated", "shuffled", "random direction", DIFFERENCE]
    points = [np.asarray(line.get_ydata()).tolist() for line in at_site.lines if line.get_marker() == "o"]
    assert points == [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]


def test_a_control_far_away_leaves_room_for_the_others() -> None:
    contrasts = {"answer": -10.0, "shuffled": 0.1, "random_direction": 0.2}
    table = pd.DataFrame(
        [
            {"memories": name, "effect": effect, "low": effect - 0.05, "high": effect + 0.05}
            for name, effect in contrasts.items()
        ]
    ).assign(model="tiny", dataset="mine", encoding="unembed", relative=False, margin=0.1)
    figure = controls(table)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    places = dict(
        zip(
            contrasts,
            axes.transAxes.inverted().transform(
                axes.transData.transform([(effect, 0) for effect in contrasts.values()])
            )[:, 0],
            strict=True,
        )
    )
    assert 0 < places["answer"] < 0.2
    assert places["random_direction"] - places["shuffled"] > 0.05
    assert [" ".join(text.get_text().split()) for text in axes.texts] == ["← control better", "memory better →"]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert boxes[0].x1 < boxes[1].x0
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert {"−10", "0"} <= set(ticks)


def test_the_lens_has_a_panel_for_each_target_and_a_line_for_each_control() -> None:
    index = pd.MultiIndex.from_product(
        [["curated", "shuffled", DIFFERENCE], list(TARGETS), [3, 4]], names=["control", "target", "block"]
    )
    site = {"model": "tiny", "dataset": "mine", "encoding": "unembed", "relative": False, "layer": 3, "magnitude": 2.0}
    table = index.to_frame(index=False).assign(**site, rank_clean=70.0, rank_injected=0.0)
    panels = logit_lens(table).axes
    assert len(panels) == len(TARGETS)
    for axes in panels:
        assert [line.get_label() for line in axes.lines] == ["no injection", "curated", "shuffled"]
        assert np.asarray(axes.lines[0].get_ydata()).tolist() == [70, 70]
        low, high = axes.get_ylim()
        assert low > 70
        assert high < 0  # the most probable token, rank 0, is on top


def test_where_no_head_is_patched_the_figure_says_so() -> None:
    heads = {name: [1.0, 2.0] for name in ("effect", "effect_other", "attribution")}
    table = pd.DataFrame({"model": "tiny", "dataset": "mine", "layer": [0, 0], "head": [0, 1], **heads})
    table = table.assign(gap=1.5, n_prompts=6, n_positive=9)
    assert "6 of the 9 prompts with a gap, +1.50 nats on average" in patching(table).axes[0].get_title(loc="left")
    (note,) = patching(table.head(1).assign(layer=np.nan, head=np.nan, n_prompts=0)).texts
    assert note.get_text().startswith("No head is patched")


def test_the_history_of_the_headline_has_a_bar_for_each_rule() -> None:
    site = {"model": "tiny", "dataset": "mine", "layer": 1, "paper_layer": 2, "magnitude": 2.0}
    table = pd.DataFrame(
        [
            {**site, "rule": "mean", "label": "mean", "value": 100.0},
            {**site, "rule": "median", "label": "median", "value": -50.0},
        ]
    )
    (axes,) = headline(table).axes
    bars: Any = axes.containers[0]
    assert list(bars.datavalues) == pytest.approx([np.log(2), -np.log(2)])
    assert {text.get_text() for text in axes.texts} == {"+100.0 %", "−50.0 %"}
    assert "layer 1, magnitude 2 (the paper's 2, 2)" in axes.get_title()


def test_a_figure_of_what_the_cells_lack_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memory_injections.figures.registry import list_figures

    needy = replace(list_figures()["effect"], needs="rank_injected")
    monkeypatch.setattr("figures.list_figures", lambda: {**list_figures(), "effect": needy})
    sizes = []
    for ranks in (pd.NA, 3):
        table = cells("curated", [0.1] * 3, [0.05] * 3).assign(rank_injected=pd.array([ranks] * 3, dtype="Int32"))
        table.to_parquet(tmp_path / "cells.parquet")
        draw_figure("effect", [tmp_path / "cells.parquet"], tmp_path / "a.png", tmp_path / "a.pdf", "")
        sizes.append((tmp_path / "a.png").stat().st_size)
    assert sizes[0] < sizes[1] / 2


def test_a_name_with_dollar_signs_is_no_formula(tmp_path: Path) -> None:
    table = cells("curated", [0.1] * 3, [0.05, 0.1, 0.2]).assign(dataset="$\\undefined{$")
    table.to_parquet(tmp_path / "cells.parquet")
    for name in ("effect", "change", "distribution"):
        draw_figure(name, [tmp_path / "cells.parquet"], tmp_path / "a.png", tmp_path / "a.pdf", "")


def test_a_figure_is_the_same_each_time(tmp_path: Path) -> None:
    cells("curated", [0.1] * 3, [0.05, 0.1, 0.2]).to_parquet(tmp_path / "cells.parquet")
    for name in ("a", "b"):
        draw_figure(
            "distribution", [tmp_path / "cells.parquet"], tmp_path / f"{name}.png", tmp_path / f"{name}.pdf", ""
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_only_figures_of_other_tables_or_code_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def note(name: str, *parts: Any) -> None:
        drawn.append(name)
        draw_figure(name, *parts)

    monkeypatch.setattr("figures.draw_figure", note)
    files = {name: [tmp_path / f"{name}.{ending}" for ending in ("png", "pdf")] for name in ("effect", "change")}

    def draw(change: str = "1", value: float = 0.05, damaged: str = "") -> list[str]:
        """Draw both figures as a job does, and return which of them were drawn."""
        cells("curated", [0.1] * 3, [value, 0.1, 0.2]).to_parquet(tmp_path / "cells.parquet")
        if damaged:
            (tmp_path / damaged).write_bytes(b"damaged")
        drawn.clear()
        draw_figures({"effect": "1", "change": change}, {"tables": [tmp_path / "cells.parquet"]}, files)
        write_checksums(file for both in files.values() for file in both)
        return list(drawn)

    assert draw() == ["effect", "change"]
    assert draw() == []
    assert draw(change="2") == ["change"]
    assert draw(change="2", damaged="effect.pdf") == ["effect"]
    assert draw(change="2", value=0.06) == ["effect", "change"]


@pytest.mark.parametrize("n_layers", [2, 36])
def test_the_legend_leaves_the_scale_in_percent_free(n_layers: int) -> None:
    figure = distribution(pd.concat([cells("curated", [0.1] * 3, [0.1, 1e-6, 0.2], n) for n in range(n_layers)]))
    figure.draw_without_rendering()
    (legend,), (percent,) = figure.legends, figure.axes[0].child_axes
    labels = [label for label in percent.get_yticklabels() if label.get_text()]
    assert labels
    assert not any(legend.get_window_extent().overlaps(label.get_window_extent()) for label in labels)


def test_effects_by_group_stand_beside_those_over_shuffled_memories() -> None:
    estimate = {"effect": 0.3, "low": 0.1, "high": 0.5, "contrast": 0.2, "contrast_low": 0.0, "contrast_high": 0.4}
    sweep = SweepId("tiny", "mine", "curated", "any", relative=True)
    groups = ["works", "people and " + "x" * 50, "other"]
    rows = [{**sweep.columns, "by": "topic", "group": group, "n_prompts": 9, **estimate} for group in groups]
    figure = breakdown(pd.DataFrame(rows))
    (axes,) = figure.axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["works (9)", "people and…", "other (9)"]
    points = [np.asarray(line.get_xdata()).tolist() for line in axes.lines if line.get_marker() == "o"]
    assert points == [[0.3] * 3, [0.2] * 3]
    without = pd.DataFrame(rows).assign(contrast=np.nan, contrast_low=np.nan, contrast_high=np.nan)
    assert len(breakdown(without).axes[0].containers) == 1
