"""What the command line shows of prompts and of what models say: text, and nothing that steers the terminal."""

import io

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_injections.command_line.terminal import (
    describe_best_site,
    tabulate_continuations,
    tabulate_next_tokens,
    tabulate_pairs,
)
from rich.console import Console

TEXTS = st.builds(
    "{}{}{}".format, st.text(), st.sampled_from(["\x1b[31m", "\x1b]0;t\x07", "\x9b5m", "[red]", "\r"]), st.text()
)
SITE = {"p_obscure": 0.1, "p_injected": 0.2, "rank_obscure": 1, "rank_injected": 0, "percent_change": 100.0}
SITE |= {"p_shuffled": 0.1, "p_random": 0.1}
PAIR = {"prompt_id": 0, "p_obscure": 0.1, "p_injected": 0.2, "rank_obscure": 1, "rank_injected": 0}
PAIR |= {"effect": 0.1, "effect_shuffled": 0.1, "effect_random": 0.1}


@settings(deadline=None)
@given(text=TEXTS)
def test_no_text_steers_the_terminal(text: str) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=10_000)
    console.print(tabulate_continuations(text, {"before": text, "after": text, "shuffled": text}, text))
    console.print(tabulate_next_tokens(pd.DataFrame([{"token_id": 1, "token": text, **SITE}]), None, text))
    console.print(tabulate_pairs(pd.DataFrame([{"memory": text, "answer": text, **PAIR}])))
    console.print(describe_best_site(pd.Series({**SITE, "layer": 0, "magnitude": 1.0}), text, text))
    shown = stream.getvalue().replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert shown.replace("\n", "").isprintable()
