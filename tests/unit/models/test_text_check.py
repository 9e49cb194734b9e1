"""The text check: what it names, what it refuses, and that it loads no weights."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import PAIRS
from memory_injections.analysis.paper_tables import count_text_checks, list_text_checks
from memory_injections.analysis.table_files import read_table, write_table
from memory_injections.data.prompt_pairs import normalise_pairs, strip_pairs
from memory_injections.data.text_tables import read_csv
from memory_injections.errors import StudyError
from memory_injections.models.text_check import check_texts, describe_bos
from transformers import AutoTokenizer, PreTrainedTokenizerBase

OWN = {
    "explicit_prompt": "Peru lies in",
    "obscure_prompt": "The land of Lima lies in",
    "memory": "Peru",
    "answer": "the",
}
LEFT_OUT, KEPT, UNKNOWN = "invisible characters left out", "invisible characters kept", "unknown tokens"
DROPPED = "characters that the tokenizer leaves out"
PIECE, SHORT = "first token is a piece of a character", "first token of one or two characters"
SHARED, NEAR = "first token of another answer, too", "near the end of the context"
WORD = "word of the memory or the answer in the obscure prompt"
BOS = "BOS differs from the model's config"


def make_pairs(*changes: dict[str, str]) -> pd.DataFrame:
    table = pd.DataFrame([OWN | change for change in changes])
    table.insert(0, "prompt_id", range(10, 10 + len(changes)))
    return table


def list_checks(table: pd.DataFrame, but: Sequence[str] = ()) -> list[list[str]]:
    """The checks that name each pair, but for some of them."""
    checks = table.select_dtypes(bool).drop(columns=[*but])
    return [list(checks.columns[row]) for row in checks.to_numpy()]


@pytest.fixture
def folder(tmp_path: Path, golden: Path) -> Path:
    """Config and tokenizer, without weights, of a golden model."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden / name, tmp_path)
    return tmp_path


def save(folder: Path, tokenizer: PreTrainedTokenizerBase, **config: Any) -> Path:
    """Put another tokenizer into a folder, and change its config."""
    tokenizer.save_pretrained(folder)
    change_json(folder / "config.json", **config)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_own_pairs_pass(folder: Path) -> None:
    pairs = strip_pairs(normalise_pairs(read_csv(PAIRS), "own"), "own")
    table = check_texts(folder, pairs).assign(model="m", dataset="d")
    counts = count_text_checks([table]).set_index("check")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = [
        [str(tokenizer.decode([token])) for token in tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]]
        for answer in pairs["answer"]
    ]
    firsts = pd.Series([next(text.strip() for text in of_answer if text.strip()) for of_answer in tokens])
    short = list(firsts.index[firsts.str.len() <= 2])
    shared = sum(pairs["answer"].groupby(firsts).transform("nunique") > 1)
    assert counts["n"].to_dict() == dict.fromkeys(counts.index, 0) | {SHORT: len(short), SHARED: shared}
    assert counts.loc[SHORT, "rows"] == ", ".join(map(str, short[:10]))
    assert counts.loc[SHORT, "share"] == len(short) / 72
    # With the tokenizer of the default study's model few answers are weak, with the tiny one nearly all.
    assert (len(short), shared) == ((12, 0) if len(tokenizer) == 49152 else (71, 55))
    first = table.set_index("prompt_id").loc[5]
    assert (first["explicit_prompt"].split("|")[:2], first["memory"]) == (["<", "im_start"], "India")
    assert (first["obscure_prompt"].split("|")[-2:], first["answer"], first["scored"]) == (
        [" is", " the"],
        " ru|pee",
        "ru",
    )


def test_what_only_weakens_a_score_is_named(folder: Path) -> None:
    pairs = make_pairs(
        {"memory": " Peru", "answer": "Lima"},
        {"answer": "1929"},
        {"answer": "שלום"},
        {"answer": "South America"},
        {"answer": "South Africa"},
        {"answer": "south africa"},
        {"explicit_prompt": "Peru lies in " + 60 * "the "},
    )
    table = check_texts(folder, pairs)
    # Most first tokens of a tiny tokenizer are short.
    assert list_checks(table, [SHORT]) == [[KEPT, WORD], [], [PIECE], [SHARED], [SHARED], [], [KEPT]]
    assert table[SHORT].tolist() == ((table["scored"].str.len() <= 2) & ~table[PIECE]).tolist()
    assert table[SHORT].tolist()[1:3] == [True, False]
    assert list_checks(check_texts(folder, strip_pairs(pairs, "x").head(1)), [SHORT]) == [[LEFT_OUT, WORD]]
    change_json(folder / "config.json", n_positions=70)
    assert list_checks(check_texts(folder, strip_pairs(pairs, "x"))).pop() == [LEFT_OUT, NEAR]


def test_answers_of_one_piece_of_a_character_are_refused(folder: Path) -> None:
    """Three Hebrew answers that begin with the same byte were three hits."""
    pairs = make_pairs({"answer": "שלום"}, {"answer": "Lima"}, {"answer": "שבת"}, {"answer": "שקל"})
    sentence = (
        "^prompt pairs 10, 12 and 13 cannot be scored, the first because the answer 'שלום' starts with a piece of a"
    )
    with pytest.raises(StudyError, match=sentence):
        check_texts(folder, pairs)


def test_every_refused_pair_is_named_in_one_sentence(folder: Path, words: PreTrainedTokenizerBase) -> None:
    known = {"explicit_prompt": "The currency of India is the", "obscure_prompt": "The currency of the country is the"}
    known |= {"memory": "India", "answer": "rupee"}
    changes = [{"obscure_prompt": "The <s> in"}, {}, {"answer": "quokka"}, {"memory": "quokka"}]
    with pytest.raises(
        StudyError, match=r"^prompt pairs 10, 12 and 13 cannot be scored, the first because '<s>' is a sp"
    ):
        check_texts(save(folder, words, bos_token_id=0), make_pairs(*(known | change for change in changes)))
    assert list_checks(check_texts(folder, make_pairs(known, known | {"memory": "India quokka"}))) == [[], [UNKNOWN]]


@pytest.mark.parametrize("config", [{"n_positions": 12}, {"model_type": "mpt", "max_seq_len": 12}])
def test_a_text_beyond_the_context_is_refused(config: dict[str, Any], folder: Path) -> None:
    """Families call it by different names."""
    change_json(folder / "config.json", **config)
    with pytest.raises(
        StudyError, match=r"^prompt pair 11 cannot be scored because obscure_prompt has 13 tokens, but the m"
    ):
        check_texts(
            folder,
            make_pairs({"obscure_prompt": "Lima lies in"}, {"obscure_prompt": "India lies " + 9 * "the " + "in"}),
        )


def test_a_tokenizer_that_leaves_characters_out(folder: Path, sentencepiece: PreTrainedTokenizerBase) -> None:
    save(folder, sentencepiece, bos_token_id=0)
    assert list_checks(check_texts(folder, make_pairs({}, {"memory": "Peru 東"}))) == [[], [DROPPED]]
    with pytest.raises(
        StudyError, match="prompt pair 10 cannot be scored because the answer '東 the' starts with what"
    ):
        check_texts(folder, make_pairs({"answer": "東 the"}))


def test_another_bos_than_the_models_config_is_told(folder: Path, tiny_models: dict[str, Path]) -> None:
    assert [describe_bos(path) for path in (folder, tiny_models["llama"])] == [None, None]
    change_json(folder / "config.json", bos_token_id=2)
    said = describe_bos(folder)
    assert said is not None
    assert said.startswith(
        "every prompt starts with the tokenizer's '<|im_start|>' (1), but the model's config.json names token 2 as BOS"
    )
    assert list_checks(check_texts(folder, make_pairs({}, {}))) == [[BOS], [BOS]]


def test_tables_are_read_back(folder: Path, tmp_path: Path) -> None:
    table = check_texts(folder, make_pairs({"answer": "=1"}, {"answer": "1929"})).assign(model="m", dataset="d")
    for made in (count_text_checks([table, table]), list_text_checks([table])):
        write_table(made, tmp_path / "table.csv")
        pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv").fillna(""), made, check_dtype=False)
    assert list(made["checks"]) == [SHORT, SHORT]
