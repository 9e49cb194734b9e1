"""The command line `memory-injections`: injections into one prompt, and what surrounds a whole study."""

import sys
from contextlib import suppress
from dataclasses import astuple
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from memory_injections.command_line import injections, studies, terminal
from memory_injections.command_line.documents import convert_rows, print_json
from memory_injections.command_line.options import (
    DEFAULT_ENCODING,
    DEFAULT_MODEL,
    Device,
    Encoding,
    Json,
    Memory,
    ModelName,
    Other,
    Prompt,
    Seed,
    check_texts,
    choose_other,
    parse_layers,
    parse_number,
)
from memory_injections.command_line.running import exit_on_error, format_examples, load_injector, results
from memory_injections.registry import load_extensions

app = typer.Typer(
    help="Inject memories into a language model and see what it says next (Sakarvadia et al. 2023, arXiv 2309.05605).",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"memory-injections {version('memory-injections')}")
        raise typer.Exit


@app.callback()
@exit_on_error
def start(
    is_asked: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that belong to no command, and write whatever a terminal cannot show as an escape.

    What installed packages add is imported here, so that a broken one is named whatever the command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    load_extensions()


app.command(epilog=format_examples(*injections.INJECT_EXAMPLES))(injections.inject)
app.command(epilog=format_examples(*injections.FIND_EXAMPLES))(injections.find)


@app.command(
    epilog=format_examples(
        'heads "George Washington fought in the"',
        'heads "The author of Das Kapital is buried in the city of" --target London --layer 9,10 --top 10',
    )
)
@exit_on_error
def heads(
    prompt: Prompt,
    layer: Annotated[str, typer.Option(help="A layer, several (3,9), a range (0..29), or all.")] = "all",
    target: Annotated[
        str | None, typer.Option(help="A text by whose first token to rank the heads, the highest logit first.")
    ] = None,
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    top: Annotated[int, typer.Option(min=1, help="How many tokens of each head to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what each attention head says at the end of a prompt: its output's top tokens in vocabulary space.

    A target ranks the heads by what they say of it: an answer, or a memory that they should have retrieved.
    """
    layers = parse_layers(layer)
    check_texts(DEFAULT_ENCODING, prompt=prompt, target=target)
    with load_injector(model, device) as (injector, _):
        table = injector.heads(prompt, layers, top, target)
    if target is not None:
        table = table.sort_values("answer_logit", ascending=False, kind="stable", ignore_index=True)
    if as_json:
        print_json({"model": model, "prompt": prompt, "target": target, "heads": convert_rows(table)})
    else:
        results.print(terminal.tabulate_heads(table))


@app.command(
    epilog=format_examples(
        'generate "The first president of the United States fought in the" "George Washington" --layer 1',
        'generate "The author of Das Kapital is buried in" "Karl Marx" --layer 9 --magnitude 2 --temperature 0.8',
    )
)
@exit_on_error
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
    other: Other = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Continue a prompt without and with a memory, and with another memory or a random direction in its place.

    The memory is injected at every position, those of the new tokens included.
    """
    other = choose_other(other, memory)
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "layer": layer, "encoding": encoding}
    asked |= {"magnitude": parse_number("magnitude", magnitude), "temperature": temperature, "seed": seed}
    check_texts(encoding, prompt=prompt, memory=memory, other=other)
    with load_injector(model, device) as (injector, _):
        found = injector.generate(**asked, other=other, max_new_tokens=tokens)
    texts = dict(zip(("before", "after", "shuffled", "random"), astuple(found), strict=True))
    if as_json:
        print_json({"model": model, **asked, "other": other, **texts})
    else:
        results.print(terminal.tabulate_continuations(prompt, texts, other))


@app.command(
    epilog=format_examples(
        'controls "The author of Das Kapital is buried in" "Karl Marx" London --layer 9 --magnitude 2 '
        '--other "Adam Smith" --other "Isaac Newton"',
    )
)
@exit_on_error
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
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Show whether it is the memory that works: its effect on an answer beside those of its controls.

    The controls are other memories, words and random directions of the memory's length, its opposite, the answer
    itself, the memory without its part along the answer, and the memory as text in front of the prompt.
    """
    asked: dict[str, Any] = {"prompt": prompt, "memory": memory, "answer": answer, "layer": layer}
    asked |= {"magnitude": parse_number("magnitude", magnitude), "encoding": encoding}
    check_texts(encoding, prompt=prompt, memory=memory, answer=answer)
    for text in (*(other or ()), *(word or ())):
        check_texts(encoding, memory=text)
    with load_injector(model, device) as (injector, _):
        from memory_injections.interactive.comparisons import inject_controls

        others: dict[str, Any] = {"others": other or (), "words": word or ()}
        table = inject_controls(injector, **asked, **others, draws=draws, seed=seed)
    if as_json:
        print_json({"model": model, **asked, **others, "controls": convert_rows(table)})
    else:
        results.print(terminal.tabulate_controls(table))


@app.command()
@exit_on_error
def playground(
    model: ModelName = DEFAULT_MODEL,
    device: Device = None,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 takes a free one.")] = 8080,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open a page to try memories out on, for this machine only."""
    from memory_injections.playground import serving

    port = serving.find_port(port)
    with load_injector(model, device, is_grid=True) as (injector, _):
        pass  # the page is there once the model is
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        serving.serve_playground(injector, model, port, browser)


for command in (studies.check, studies.plan, studies.bench, studies.crate):
    app.command(rich_help_panel="Studies")(command)
app.command(hidden=True)(studies.schema)

if __name__ == "__main__":
    app()
