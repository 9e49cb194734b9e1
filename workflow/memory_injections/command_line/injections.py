"""The commands that inject a memory: at one site, over a grid of sites, or into a file of prompts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memory_injections.command_line import terminal
from memory_injections.command_line.documents import (
    PICTURES,
    TABLES,
    check_place,
    convert_rows,
    print_json,
    read_pairs,
    save_picture,
    save_table,
)
from memory_injections.command_line.options import (
    DEFAULT_ENCODING,
    DEFAULT_MODEL,
    Device,
    Encoding,
    Json,
    Memory,
    ModelName,
    OptionalMemory,
    OptionalPrompt,
    Other,
    Pairs,
    Plot,
    Prompt,
    Save,
    check_texts,
    choose_other,
    parse_layers,
    parse_numbers,
)
from memory_injections.command_line.running import exit_on_error, load_injector, notes, results
from memory_injections.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

    from memory_injections.interactive.injector import Grid, Injector

NO_EVIDENCE = (
    "One prompt's best site is no evidence: the highest of many changes is positive by chance alone. Whether a site "
    "helps is seen on prompts that it was not chosen on, and against random memories: a study does that."
)
CHOSEN_SITE = "If the site was chosen on these prompts, this flatters it: judge it on others, as a study does."
INJECT_EXAMPLES = (
    'inject "The first president of the United States fought in the" "George Washington" --layer 1',
    'inject "The author of Das Kapital is buried in" "Karl Marx" --layer all --magnitude 1..5 --answer London',
    'inject "The capital of the land of tulips is" "Netherlands" --layer 3,9 --magnitude 0.5,1 --json',
    "inject --pairs pairs.csv --layer 9 --magnitude 2 --save effects.csv",
    "inject --pairs pairs.csv --layer 9 --dose 0.1",
)
FIND_EXAMPLES = (
    'find "The author of Das Kapital is buried in" "Karl Marx" London',
    'find "The author of Das Kapital is buried in" "Karl Marx" London --magnitude 0.5,1,2 --save grid.csv',
    'find "The author of Das Kapital is buried in" "Karl Marx" London --plot map.png',
)


@exit_on_error
def inject(
    layer: Annotated[str, typer.Option(help="A layer, several (3,9), a range (0..29), or all.", show_default=False)],
    prompt: OptionalPrompt = None,
    memory: OptionalMemory = None,
    magnitude: Annotated[
        str | None, typer.Option(help="Factor of the memory: one, several (0.5,2), a range (1..15). [default: 1]")
    ] = None,
    answer: Annotated[str | None, typer.Option(help="A text whose first token is followed.")] = None,
    pairs: Pairs = None,
    dose: Annotated[
        str | None, typer.Option(help="With --pairs, in place of a magnitude: a share of the residual stream's length.")
    ] = None,
    other: Other = None,
    encoding: Encoding = DEFAULT_ENCODING,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable next tokens to show.")] = 10,
    save: Save = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Show the next tokens before and after a memory is injected, and with two controls in its place.

    The controls are another memory, and random directions of the memory's length. Several layers or magnitudes give a
    heat map: the percent change of the probability of the answer's first token or, without an answer, of the token that
    is most probable without the memory. A file of pairs gives a row for each, beside another pair's memory and random
    directions, and then the mean effects with their intervals, and a verdict.
    """
    if dose and (magnitude or not pairs):
        raise StudyError("--dose is for --pairs, in place of --magnitude; give only one of them")
    layers, magnitudes = parse_layers(layer), parse_numbers("dose" if dose else "magnitude", dose or magnitude or "1")
    is_grid = layers is None or len(layers) * len(magnitudes) > 1
    check_place("--save", save, TABLES)
    check_place("--plot", plot, PICTURES)
    if plot and not is_grid:
        raise StudyError("--plot draws a map of several sites; give several layers or magnitudes")
    site: dict[str, Any] = {} if is_grid or not layers else {"layer": layers[0], "magnitude": magnitudes[0]}
    if pairs:
        _check_beside_pairs(site, prompt, memory, answer, other)
        at = {"model": model, "encoding": encoding, **site, "relative": dose is not None}
        _inject_pairs(pairs, at, device, save, as_json)
        return
    if prompt is None or memory is None:
        raise StudyError("the memory or the prompt is missing; give PROMPT and MEMORY, or --pairs and a file")
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "encoding": encoding, "answer": answer}
    other = choose_other(other, memory)
    check_texts(encoding, prompt=prompt, memory=memory, answer=answer, other=other)
    if is_grid:
        grid = {"layers": layers, "magnitudes": magnitudes}
        _inject_grid(asked, other, grid, model, device, save, plot, as_json)
        return
    with load_injector(model, device) as (injector, _):
        injection = injector.inject(**asked, **site, other=other, top_k=top)
    save_table(injection.table, save, notes)
    if as_json:
        token = None if injection.answer is None else convert_rows(injection.answer)
        found = {"kl": injection.kl, "answer_token": token, "next_tokens": convert_rows(injection.table)}
        print_json({"model": model, **asked, **site, "other": other, **found})
    else:
        results.print(terminal.tabulate_next_tokens(injection.table, injection.answer, other))


@exit_on_error
def find(
    prompt: Prompt,
    memory: Memory,
    answer: Annotated[str, typer.Argument(help="The text whose first token is to be raised.", show_default=False)],
    magnitude: Annotated[
        str, typer.Option(help="Factors of the memory: a range (1..15) or several (0.5,2).")
    ] = "1..15",
    other: Other = None,
    encoding: Encoding = DEFAULT_ENCODING,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    save: Save = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Find the layer and magnitude at which a memory raises an answer most, over all layers.

    What two controls do there is shown too: another memory, and random directions of the memory's length.
    """
    grid = {"magnitudes": parse_numbers("magnitude", magnitude)}
    check_place("--save", save, TABLES)
    check_place("--plot", plot, PICTURES)
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "encoding": encoding, "answer": answer}
    other = choose_other(other, memory)
    check_texts(encoding, prompt=prompt, memory=memory, answer=answer, other=other)
    _inject_grid(asked, other, grid, model, device, save, plot, as_json)
    (notes if as_json else results).print(NO_EVIDENCE, highlight=False)


def _inject_grid(
    asked: dict[str, Any], other: str, sites: dict[str, Any], model: str, device: str | None, save: Path | None,
    plot: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Inject at every site, and the controls at the best one; show and save what comes out."""
    with load_injector(model, device, is_grid=True) as (injector, progress):
        grid = injector.sweep(**asked, **sites, progress=progress)
        there = _compare_at_best(injector, asked, other, grid)
    save_table(grid.table, save, notes)
    save_picture(grid.table, f"{asked['memory']} → {grid.token.strip()}", plot, notes)
    if as_json:
        followed = {"token_id": grid.token_id, "token": grid.token}
        best = {"best": convert_rows(there), "cells": convert_rows(grid.table)}
        print_json({"model": model, **asked, "other": other, **followed, **best})
        return
    results.print(terminal.draw_heat_map(grid.percent_change), soft_wrap=True)
    results.print(terminal.describe_best_site(there, grid.token, other), soft_wrap=True)


def _compare_at_best(injector: "Injector", asked: dict[str, Any], other: str, grid: "Grid") -> "pd.Series":
    """Return the best site of a grid with the probabilities that the controls give there."""
    best = grid.best.copy()
    site: dict[str, Any] = {"layer": int(best["layer"]), "magnitude": float(best["magnitude"])}
    table = injector.inject(**asked, **site, other=other, top_k=1).table.set_index("token_id")
    for name in ("p_shuffled", "p_random"):
        best[name] = table[name][grid.token_id]
    return best


def _check_beside_pairs(site: dict[str, Any], *texts: str | None) -> None:
    """Raise `StudyError` for what does not go with a file of pairs: no single site, or texts that the file has."""
    if not site:
        raise StudyError(
            "--pairs takes one layer and one magnitude or dose; a study sweeps over many (docs/running.md)"
        )
    if any(texts):
        raise StudyError("--pairs has prompts, memories and answers; give none beside it")


def _inject_pairs(path: Path, asked: dict[str, Any], device: str | None, save: Path | None, as_json: bool) -> None:
    """Inject each pair's memory into its obscure prompt; show what that does to the answers, and what it tells."""
    table = read_pairs(path)
    site = {name: value for name, value in asked.items() if name != "model"}
    check_texts(asked["encoding"])
    with load_injector(asked["model"], device, is_grid=True) as (injector, progress):
        from memory_injections.interactive.comparisons import inject_pairs, judge_pairs

        effects = inject_pairs(injector, table, **site, progress=progress)
        means, verdict = judge_pairs(effects, table)
    save_table(effects, save, notes)
    sentence = terminal.describe_verdict(verdict, len(effects))
    if as_json:
        found = {"pairs": convert_rows(effects), "means": convert_rows(means)}
        print_json({**asked, **found, "verdict": verdict, "sentence": sentence})
    else:
        results.print(terminal.tabulate_pairs(effects))
        results.print(terminal.tabulate_means(means))
        results.print(sentence, style="bold", highlight=False)
        results.print(CHOSEN_SITE, style="dim", highlight=False)
