"""What the command line shows in a terminal: tables, heat maps and progress."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from memory_injections.analysis.numbers import write_signed
from memory_injections.errors import make_printable
from memory_injections.terms import MARGIN

if TYPE_CHECKING:
    import pandas as pd

# The middle and the ends of the colour map of the report's heat maps.
WHITE, RED, BLUE = (247, 247, 247), (178, 24, 43), (33, 102, 172)
CELL_WIDTH = 5


def tabulate_next_tokens(table: "pd.DataFrame", answer: "pd.Series | None", other: str) -> RenderableType:
    """Tabulate the most probable next tokens without and with a memory; the answer's is bold and has an arrow.

    The last two columns have the probabilities with the controls in the memory's place.
    """
    shown = Table("", "next token", box=None, header_style="bold")
    for name in ("before", "after", "change", "rank", "other*", "random*"):
        shown.add_column(name, justify="right")
    for row in table.itertuples():
        is_answer = answer is not None and row.token_id == answer["token_id"]
        shown.add_row(
            "→" if is_answer else "",
            Text(repr(row.token)),
            f"{row.p_obscure:.3g}",
            f"{row.p_injected:.3g}",
            format_percent(row.percent_change),
            f"{row.rank_obscure} → {row.rank_injected}",
            f"{row.p_shuffled:.3g}",
            f"{row.p_random:.3g}",
            style="bold" if is_answer else "",
        )
    legend = f"* after, with {make_printable(other)} or a random direction of its length instead"
    return Group(shown, Text(legend, "dim"))


def tabulate_heads(table: "pd.DataFrame") -> Table:
    """Tabulate each head's top tokens, the highest logit first, in the order of the table's heads.

    With a target, its rank and logit in each head are shown too.
    """
    has_target = "answer_rank" in table
    shown = Table("layer", "head", box=None, header_style="bold")
    for name in ("target's rank", "logit") if has_target else ():
        shown.add_column(name, justify="right")
    shown.add_column("top tokens")
    for (layer, head), tokens in table.groupby(["layer", "head"], sort=False):
        first = tokens.iloc[0]
        target = (f"{first['answer_rank']}", f"{first['answer_logit']:.2f}") if has_target else ()
        shown.add_row(str(layer), str(head), *target, Text("  ".join(map(repr, tokens["token"]))))
    return shown


def tabulate_pairs(table: "pd.DataFrame") -> RenderableType:
    """Tabulate a memory's effect on the answer of each prompt pair beside those of its controls, and their means."""
    shown = Table("pair", box=None, header_style="bold", show_footer=True)
    for name in ("memory", "answer"):
        shown.add_column(name, overflow="fold")
    for name in ("before", "after", "rank"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name in ("effect", "effect_shuffled", "effect_random"):
        heading = {"effect": "effect", "effect_shuffled": "other*", "effect_random": "random*"}[name]
        shown.add_column(heading, write_signed(table[name].mean()), justify="right", no_wrap=True)
    shown.columns[0].footer = "mean"
    for row in table.itertuples():
        probabilities = (f"{row.p_obscure:.3g}", f"{row.p_injected:.3g}", f"{row.rank_obscure} → {row.rank_injected}")
        effects = (write_signed(effect) for effect in (row.effect, row.effect_shuffled, row.effect_random))
        shown.add_row(
            str(row.prompt_id), Text(make_printable(row.memory)), Text(repr(row.answer)), *probabilities, *effects
        )
    legend = "effects in nats; * with another pair's memory or random directions of its length instead"
    return Group(shown, Text(legend, "dim"))


def tabulate_means(means: "pd.DataFrame") -> Table:
    """Tabulate the mean effect of the memory, and of it minus each control, with intervals (`judge_pairs`)."""
    from memory_injections.analysis.effects import describe_effect

    names = {"": "the memory", "shuffled": "memory minus another pair's", "random": "memory minus random directions"}
    shown = Table("mean over pairs", "effect, 95 % interval", box=None, header_style="bold")
    for row in means.to_dict("records"):
        shown.add_row(names[row["minus"]], Text(describe_effect(row)))
    return shown


def describe_verdict(verdict: str, n_pairs: int) -> str:
    """Return the verdict on a memory's help at one site as a plain sentence."""
    from memory_injections.analysis.verdicts import OPPOSITE, SUPPORTED, ZERO

    said = {
        SUPPORTED: "the memory makes the answers more probable, and more so than another pair's memory does",
        OPPOSITE: "the memory makes the answers less probable, and lowers them more than another pair's memory does",
        ZERO: f"the memory changes answers by less than {MARGIN:g} nats, and beats another pair's memory by less, too",
    }
    unclear = f"these {n_pairs} pairs do not tell whether the memory helps, and more than another pair's memory does"
    return f"Verdict: {verdict}. Here {said.get(verdict, unclear)}."


def draw_heat_map(changes: "pd.DataFrame") -> RenderableType:
    """Draw percent changes, layers down and magnitudes across, with colours on a symmetric logarithmic scale."""
    limit = max(changes.abs().max().max(), 1)
    label = max(len("layer"), *(len(str(layer)) for layer in changes.index))
    head = Text("layer".rjust(label) + "".join(f"{magnitude:g}".rjust(CELL_WIDTH) for magnitude in changes), "bold")
    lines = [head]
    for layer, row in changes.iterrows():
        line = Text(str(layer).rjust(label), "bold")
        for change in row:
            line.append(format_compactly(change).rjust(CELL_WIDTH), style=_choose_colour(change, limit))
        lines.append(line)
    for line in lines:
        line.no_wrap, line.overflow = True, "ignore"
    return Group(*lines)


def describe_best_site(best: "pd.Series", token: str, other: str) -> Text:
    """Describe how probable a token becomes at the best site of a grid, and with the controls there."""
    before = f"P({token!r}) is {best.p_obscure:.3g} without the memory (rank {best.rank_obscure})"
    after = f"{best.p_injected:.3g} at layer {best.layer}, magnitude {best.magnitude:g} (rank {best.rank_injected}"
    controls = (
        f"There, another memory ({make_printable(other)}) makes it {best.p_shuffled:.3g}, random directions of the "
        f"same length {best.p_random:.3g} on average."
    )
    return Text(f"{before}; at most {after}, {format_percent(best.percent_change)}). {controls}")


def tabulate_controls(table: "pd.DataFrame") -> Table:
    """Tabulate the effects of a memory and of its controls on an answer."""
    shown = Table(box=None)
    for heading in ("", "injections", "effect (nats)", "memory minus this", "P(answer)", "rank"):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for row in table.itertuples():
        contrast = "" if row.Index == 0 else write_signed(row.contrast)
        numbers = (f"{row.n}", write_signed(row.effect), contrast, f"{row.p_injected:.3g}", f"{row.rank_injected:.0f}")
        shown.add_row(Text(row.control.replace("_", " "), "bold" if row.Index == 0 else ""), *numbers)
    return shown


def tabulate_continuations(prompt: str, texts: Mapping[str, str], other: str) -> Table:
    """Tabulate a prompt's continuations without a memory (`before`) and with it or a control.

    Each is bold from where it first differs from that without a memory, and that one from where the memory's differs.
    """
    names = {"shuffled": f"other ({make_printable(other)})"}
    shown = Table("", "", box=None, show_header=False)
    start = (make_printable(prompt, keep="\n"), "dim")
    before = texts["before"]
    for name, text in texts.items():
        reference = texts["after"] if name == "before" else before
        n_same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(reference, text, strict=False)))
        same, differs = (make_printable(part, keep="\n") for part in (text[:n_same], text[n_same:]))
        shown.add_row(Text(names.get(name, name), "bold"), Text.assemble(start, same, (differs, "bold")))
    return shown


def format_percent(change: float) -> str:
    """Format a percent change in three digits; a missing one is a dash."""
    return "-" if math.isnan(change) else f"{float(f'{change:.3g}'):+,g} %"


def format_compactly(change: float) -> str:
    """Format a percent change in at most five characters; a missing one is a dash."""
    if math.isnan(change):
        return "-"
    for unit in ("", "k", "M", "G"):
        if abs(change) < 999.5 or unit == "G":
            break
        change /= 1000
    return write_signed(change, 1) if abs(change) < 9.95 and not unit else f"{change:+.0f}{unit}"


def _choose_colour(change: float, limit: float) -> str:
    """Return a rich style: the colour of a percent change, where `limit` has the strongest one, and a legible text."""
    if math.isnan(change):
        return ""
    share = math.log1p(abs(change)) / math.log1p(limit)
    red, green, blue = (
        round(white + share * (end - white)) for white, end in zip(WHITE, RED if change > 0 else BLUE, strict=True)
    )
    return f"{'white' if share > 0.6 else 'black'} on rgb({red},{green},{blue})"


@contextmanager
def show_progress(notes: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Within the block, show what is being done and for how long: at first `what`, then what the library logs.

    Yields a function that shows how many of all injections are done. Without a terminal, each message is a line.
    """
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(message: str) -> None:
            bar.update(task, description=message)
            if not notes.is_terminal:
                notes.print(message, style="dim", markup=False, highlight=False)

        handler = _ProgressHandler(notes, show)
        logger = logging.getLogger("memory_injections")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        show(what)
        try:
            yield lambda done, total: bar.update(task, description="injections", completed=done, total=total)
        finally:
            logger.removeHandler(handler)


class _ProgressHandler(logging.Handler):
    """Shows log records: warnings stay, and every other message replaces the one before."""

    def __init__(self, notes: Console, show: Callable[[str], None]) -> None:
        super().__init__()
        self.notes, self.show = notes, show

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        message = make_printable(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.notes.print(message, style="yellow", markup=False, highlight=False)
        else:
            self.show(message)
