"""The text check: what a model reads of a data set, as tokens, and what of it weakens the scores of the answers.

What makes a score meaningless is refused: an answer whose first token is unknown to the tokenizer, or is a piece of a
character that other answers start with, too; the text of a special token; a text longer than the model's context.
"""

from collections.abc import Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import AutoConfig, PreTrainedTokenizerBase

from memory_injections.data.characters import is_visible
from memory_injections.data.content_words import shares_words
from memory_injections.data.entities import identify_entity
from memory_injections.data.prompt_pairs import STRIPPED, STRIPPERS, name_pairs
from memory_injections.errors import StudyError
from memory_injections.models.checkpoints import read_json
from memory_injections.models.sizes import measure_context
from memory_injections.models.tokenisation import (
    PIECE,
    check_length,
    find_bos,
    find_first_token,
    find_reserved,
    load_tokenizer,
    tokenise_memory,
    tokenise_pair,
    tokenise_prompt,
    tokenise_text,
)
from memory_injections.terms import KIND_COLUMNS

# A text of more than this share of the context is near its end.
NEAR = 0.9
# A first token of so few characters says little of an answer.
SHORT = 2
# So many decoded tokens are kept: prompts of a data set share most of theirs.
KNOWN_TOKENS = 50_000
# How many refused pairs a sentence names.
NAMED = 20


def check_texts(folder: Path, pairs: pd.DataFrame) -> pd.DataFrame:
    """Tokenise prompt pairs as the model in a folder reads them, and say of each what weakens its scores.

    Returns a row for each pair: prompt_id; the tokens of explicit_prompt, obscure_prompt, answer and memory as text,
    with bars between them; scored, the token of the answer that is scored; and a column of booleans for each check, by
    its name. Raises `StudyError`, one sentence that names the pairs, for what makes a score meaningless.
    """
    tokenizer = load_tokenizer(folder)
    n_ctx = measure_context(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    rows, refused = [], {}
    for pair in pairs.to_dict("records"):
        try:
            rows.append(_check_pair(tokenizer, pair, n_ctx))
        except StudyError as error:
            refused[pair["prompt_id"]] = str(error)
    table = pd.DataFrame(rows)
    refused |= _compare_answers(table, pairs)
    if refused:
        which, first = name_pairs(sorted(refused), NAMED), refused[min(refused)]
        raise StudyError(f"{which} cannot be scored{', the first' if len(refused) > 1 else ''} because {first}")
    return table.assign(**{"BOS differs from the model's config": describe_bos(folder) is not None})


@lru_cache(maxsize=KNOWN_TOKENS)
def _decode(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    return str(tokenizer.decode([token]))


def describe_bos(folder: Path) -> str | None:
    """Say in a sentence that texts start with another token than the model's BOS; None if they do not."""
    config, tokenizer = read_json(folder / "config.json"), load_tokenizer(folder)
    told = config.get("bos_token_id", (config.get("text_config") or {}).get("bos_token_id"))
    bos = find_bos(tokenizer)
    if not isinstance(told, int) or told == bos:
        return None
    return (
        f"every prompt starts with the tokenizer's {tokenizer.convert_ids_to_tokens(bos)!r} ({bos}), but the model's "
        f"config.json names token {told} as BOS token; correct the wrong one"
    )


def _check_pair(tokenizer: PreTrainedTokenizerBase, pair: Mapping[Hashable, Any], n_ctx: int | None) -> dict[str, Any]:
    """Return a pair's row of the table; raise `StudyError` if it cannot be scored."""
    answer, memory = pair["answer"], pair["memory"]
    prompts = {KIND_COLUMNS[kind]: prompt for kind, prompt in tokenise_pair(tokenizer, pair).items()}
    tokenise_memory(tokenizer, memory)
    find_first_token(tokenizer, memory)
    tokens = {column: list(prompt.tokens) for column, prompt in prompts.items()}
    tokens["memory"] = tokenise_prompt(tokenizer, memory)
    for column, ids in tokens.items():
        check_length(ids, column, n_ctx)
    for column, prompt in prompts.items():
        check_length(prompt.whole, f"{column} with the answer", n_ctx)
    if _find_loss(tokenizer, answer) == 0:
        raise StudyError(f"the answer {answer!r} starts with what the tokenizer leaves out; give it another text")
    obscure, whole = prompts["obscure_prompt"], f"{pair['obscure_prompt']} {answer}"
    tokens["answer"] = tokenise_prompt(tokenizer, whole)[len(obscure.tokens) :]
    scored = str(tokenizer.decode([obscure.answer])).strip()
    is_piece, unknown = PIECE in scored and PIECE not in answer, find_reserved(tokenizer).unknown
    shown = tokens | {"memory": tokens["memory"][1:]}  # BOS is not injected
    longest = len(tokens["memory"]) + max(len(prompt.tokens) for prompt in prompts.values())
    return {
        "prompt_id": pair["prompt_id"],
        **{column: "|".join(_decode(tokenizer, token) for token in ids) for column, ids in shown.items()},
        "scored": scored,
        "scored_id": obscure.answer,
        "invisible characters left out": bool(pair.get(STRIPPED)),
        "invisible characters kept": any(
            pair[name] != strip(pair[name]) for name, strip in STRIPPERS.items() if name in pair
        ),
        # The first token is BOS, or the answer's own, which is known.
        "unknown tokens": any(token in unknown for ids in tokens.values() for token in ids[1:]),
        "characters that the tokenizer leaves out": any(
            _find_loss(tokenizer, text) is not None for text in (pair["explicit_prompt"], whole, memory)
        ),
        "first token is a piece of a character": is_piece,
        "first token of one or two characters": not is_piece and len(scored) <= SHORT and scored != answer,
        "word of the memory or the answer in the obscure prompt": shares_words(pair),
        "near the end of the context": n_ctx is not None and longest > NEAR * n_ctx,
    }


def _compare_answers(table: pd.DataFrame, pairs: pd.DataFrame) -> dict[int, str]:
    """Mark answers that start with the token of another one; return sentences for those of which it is a mere piece."""
    if table.empty:
        return {}
    answers = table["prompt_id"].map(pairs.set_index("prompt_id")["answer"])
    same = answers.map(identify_entity)
    table["first token of another answer, too"] = same.groupby(table["scored_id"]).transform("nunique") > 1
    spoilt = table["first token is a piece of a character"] & table["first token of another answer, too"]
    sentence = (
        "the answer %r starts with a piece of a character that others start with, too; use a model whose tokenizer has "
        "these characters, or leave the pairs out"
    )
    refused = zip(table.loc[spoilt, "prompt_id"].tolist(), answers[spoilt], strict=True)
    return {prompt_id: sentence % answer for prompt_id, answer in refused}


def _find_loss(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    """Return which of a text's visible characters is the first that no token stands for; None if there is none.

    That a tokenizer writes texts in its own way, such as without capitals, is no loss. One that does not turn tokens
    back into text cannot tell, and a text with unknown tokens, which are told otherwise, has none.
    """
    ids, backend = tokenise_text(tokenizer, text), tokenizer.backend_tokenizer if tokenizer.is_fast else None
    if backend is None or backend.decoder is None or find_reserved(tokenizer).unknown.intersection(ids):
        return None
    normalizer = backend.normalizer
    written, read = (
        "".join(sign for sign in each if is_visible(sign) and sign != "▁")
        for each in (normalizer.normalize_str(text) if normalizer else text, str(tokenizer.decode(ids)))
    )
    return next((index for index, sign in enumerate(written) if read[index : index + 1] != sign), None)
