"""The command line `memory-injections`: injections into one prompt, for trying things out."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from memory_injections.command_line import terminal
from memory_injections.command_line.documents import check_place, convert_row, convert_rows, print_json, save_grid
from memory_injections.command_line.options import (
    DEFAULT_ENCODING,
    DEFAULT_MODEL,
    Device,
    Encoding,
    Json,
    Memory,
    ModelName,
    Prompt,
    check_texts,
    parse_layers,
    parse_number,
    parse_numbers,
)
from memory_injections.errors import StudyError

# The modules that compute are imported with the model, so that help and errors appear at once.
if TYPE_CHECKING:
    from memory_injections.interactive.injector import Grid, Injector

NO_EVIDENCE = (
    "One prompt's best site is no evidence: the highest of many changes is positive by chance alone. Whether a site "
    "helps is seen on prompts that it was not chosen on, and against random memories: a study does that."
)
app = typer.Typer(
    help="Inject memories into a language model and see what it says next (Sakarvadia et al. 2023, arXiv 2309.05605).",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)
results, notes = Console(), Console(stderr=True)


def _exit_on_error(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command print a `StudyError` as one sentence and exit with status 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except StudyError as error:
            typer.echo(f"memory-injections: {error}", err=True)
            raise typer.Exit(1) from None

    return run


def _format_examples(*examples: str) -> str:
    return "\n\n".join(["Examples:", *(f"memory-injections {example}" for example in examples)])


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"memory-injections {version('memory-injections')}")
        raise typer.Exit


@app.callback()
def start(
    is_asked: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


@app.command(
    epilog=_format_examples(
        'inject "The first president of the United States fought in the" "George Washington" --layer 1',
        'inject "The author of Das Kapital is buried in" "Karl Marx" --layer all --magnitude 1..5 --answer London',
        'inject "The capital of the land of tulips is" "Netherlands" --layer 3,9 --magnitude 0.5,1 --json',
    )
)
@_exit_on_error
def inject(
    prompt: Prompt,
    memory: Memory,
    layer: Annotated[str, typer.Option(help="A layer, several (3,9), a range (0..29), or all.", show_default=False)],
    magnitude: Annotated[str, typer.Option(help="Factor of the memory: one, several (0.5,2), a range (1..15).")] = "1",
    answer: Annotated[str | None, typer.Option(help="A text whose first token is followed.")] = None,
    encoding: Encoding = DEFAULT_ENCODING,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the most probable next tokens to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show the next tokens before and after a memory is injected.

    Several layers or magnitudes give a heat map: the percent change of the probability of the answer's first token or,
    without an answer, of the token that is most probable without the memory.
    """
    layers, magnitudes = parse_layers(layer), parse_numbers("magnitude", magnitude)
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "encoding": encoding, "answer": answer}
    check_texts(encoding, prompt=prompt, memory=memory, answer=answer)
    is_grid = layers is None or len(layers) * len(magnitudes) > 1
    with _load_injector(model, device, is_grid) as (injector, progress):
        if layers and not is_grid:
            site: dict[str, Any] = {"layer": layers[0], "magnitude": magnitudes[0]}
            injection = injector.inject(**asked, **site, top_k=top)
        else:
            injection = None
            grid = injector.sweep(**asked, layers=layers, magnitudes=magnitudes, progress=progress)
    asked = {"model": model, **asked}
    if injection is None:
        _show_grid(grid, asked, as_json)
    elif as_json:
        token = None if injection.answer is None else convert_row(injection.answer)
        print_json(
            {**asked, **site, "kl": injection.kl, "answer_token": token, "next_tokens": convert_rows(injection.table)}
        )
    else:
        results.print(terminal.tabulate_next_tokens(injection.table, injection.answer))


@app.command(
    epilog=_format_examples(
        'find "The author of Das Kapital is buried in" "Karl Marx" London',
        'find "The author of Das Kapital is buried in" "Karl Marx" London --magnitude 0.5,1,2 --save grid.csv',
    )
)
@_exit_on_error
def find(
    prompt: Prompt,
    memory: Memory,
    answer: Annotated[str, typer.Argument(help="The text whose first token is to be raised.", show_default=False)],
    magnitude: Annotated[
        str, typer.Option(help="Factors of the memory: a range (1..15) or several (0.5,2).")
    ] = "1..15",
    encoding: Encoding = DEFAULT_ENCODING,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    save: Annotated[
        Path | None,
        typer.Option(help="A file for the whole grid: .csv or .parquet.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the layer and magnitude at which a memory raises an answer most, over all layers."""
    magnitudes = parse_numbers("magnitude", magnitude)
    check_place(save)
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "encoding": encoding, "answer": answer}
    check_texts(encoding, prompt=prompt, memory=memory, answer=answer)
    with _load_injector(model, device, is_grid=True) as (injector, progress):
        grid = injector.sweep(**asked, magnitudes=magnitudes, progress=progress)
    if save:
        save_grid(grid.table, save)
        notes.print(f"{len(grid.table)} cells are in {save}", style="dim", markup=False, highlight=False)
    _show_grid(grid, {"model": model, **asked}, as_json)
    (notes if as_json else results).print(NO_EVIDENCE, highlight=False)


@app.command(
    epilog=_format_examples(
        'heads "George Washington fought in the"',
        'heads "The first president of the United States fought in the" --layer 9,10 --top 10',
    )
)
@_exit_on_error
def heads(
    prompt: Prompt,
    layer: Annotated[str, typer.Option(help="A layer, several (3,9), a range (0..29), or all.")] = "all",
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    top: Annotated[int, typer.Option(min=1, help="How many tokens of each head to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what each attention head says at the end of a prompt: its output's top tokens in vocabulary space."""
    layers = parse_layers(layer)
    check_texts(DEFAULT_ENCODING, prompt=prompt)
    with _load_injector(model, device) as (injector, _):
        table = injector.heads(prompt, layers, top)
    if as_json:
        print_json({"model": model, "prompt": prompt, "heads": convert_rows(table)})
    else:
        results.print(terminal.tabulate_heads(table))


@app.command(
    epilog=_format_examples(
        'generate "The first president of the United States fought in the" "George Washington" --layer 1',
        'generate "The author of Das Kapital is buried in" "Karl Marx" --layer 9 --magnitude 2 --temperature 0.8',
    )
)
@_exit_on_error
def generate(
    prompt: Prompt,
    memory: Memory,
    layer: Annotated[int, typer.Option(help="The layer.", show_default=False)],
    magnitude: Annotated[str, typer.Option(help="Factor of the memory.")] = "1",
    encoding: Encoding = DEFAULT_ENCODING,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to generate.")] = 20,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 takes the most probable token; above it, tokens are drawn.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 0,
    as_json: Json = False,
) -> None:
    """Continue a prompt without and with a memory.

    The memory is injected at every position, those of the new tokens included.
    """
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "layer": layer, "encoding": encoding}
    asked |= {"magnitude": parse_number("magnitude", magnitude), "temperature": temperature, "seed": seed}
    check_texts(encoding, prompt=prompt, memory=memory)
    with _load_injector(model, device) as (injector, _):
        continuation = injector.generate(**asked, max_new_tokens=tokens)
    if as_json:
        print_json({"model": model, **asked, "before": continuation.obscure, "after": continuation.injected})
    else:
        results.print(terminal.tabulate_continuations(prompt, continuation.obscure, continuation.injected))


@app.command(
    epilog=_format_examples(
        'controls "The author of Das Kapital is buried in" "Karl Marx" London --layer 9 --magnitude 2 '
        '--other "Adam Smith" --other "Isaac Newton"',
    )
)
@_exit_on_error
def controls(
    prompt: Prompt,
    memory: Memory,
    answer: Annotated[str, typer.Argument(help="The text whose first token is followed.", show_default=False)],
    layer: Annotated[int, typer.Option(help="The layer.", show_default=False)],
    magnitude: Annotated[str, typer.Option(help="Factor of the memory.")] = "1",
    other: Annotated[list[str] | None, typer.Option(help="Another memory to inject instead; repeat it.")] = None,
    word: Annotated[list[str] | None, typer.Option(help="A word to inject at the memory's length.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="How many random directions to draw.")] = 10,
    encoding: Encoding = DEFAULT_ENCODING,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    seed: Annotated[int, typer.Option(help="Seed of the random directions.")] = 0,
    as_json: Json = False,
) -> None:
    """Show whether it is the memory that works: its effect on an answer beside those of its controls.

    The controls are other memories, words and random directions of the memory's length, its opposite, the answer
    itself, the memory without its part along the answer, and the memory as text in front of the prompt.
    """
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "answer": answer, "layer": layer}
    asked |= {"magnitude": parse_number("magnitude", magnitude), "encoding": encoding}
    check_texts(encoding, prompt=prompt, memory=memory, answer=answer)
    with _load_injector(model, device) as (injector, _):
        from memory_injections.interactive.controls import inject_controls

        others: dict[str, Any] = {"others": other or (), "words": word or ()}
        table = inject_controls(injector, **asked, **others, draws=draws, seed=seed)
    if as_json:
        print_json({"model": model, **asked, **others, "controls": convert_rows(table)})
    else:
        results.print(terminal.tabulate_controls(table))


@app.command()
@_exit_on_error
def playground(
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 takes a free one.")] = 8080,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open a page to try memories out on, for this machine only."""
    from memory_injections.playground import serving

    port = serving.find_port(port)
    with _load_injector(model, device, is_grid=True) as (injector, _):
        serving.warm_up(injector)
    serving.serve_playground(injector, model, port, browser)


@contextmanager
def _load_injector(
    model: str, device: str | None, is_grid: bool = False
) -> Iterator[tuple["Injector", Callable[[int, int], None]]]:
    """Yield an injector, and a function that shows its progress, while a clock runs in the terminal.

    Only a grid has enough to compute for more than one thread.
    """
    with terminal.show_progress(notes, f"loading {model}") as progress:
        # Garbage collection among PyTorch's modules takes two seconds: during their import, and again at exit.
        gc.disable()
        import torch
        import transformers

        from memory_injections.interactive.injector import Injector

        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        try:
            injector = Injector.load(model, device)
            torch.set_num_threads(n_threads if is_grid else 1)
            yield injector, progress
        finally:
            torch.set_num_threads(n_threads)
            gc.freeze()
            gc.enable()


def _show_grid(grid: "Grid", asked: dict[str, Any], as_json: bool) -> None:
    if as_json:
        followed = {"token_id": grid.token_id, "token": grid.token}
        print_json({**asked, **followed, "best": convert_row(grid.best), "cells": convert_rows(grid.table)})
    else:
        results.print(terminal.draw_heat_map(grid.percent_change), soft_wrap=True)
        results.print(terminal.describe_best_site(grid.best, grid.token), soft_wrap=True)


if __name__ == "__main__":
    app()
