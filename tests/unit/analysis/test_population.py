"""Which prompts count, on scores whose choice can be read off."""

from pathlib import Path

import pandas as pd
import pytest
from memory_injections.analysis.population import (
    TEXTS,
    choose_prompts,
    count_population,
    describe_population,
    judge_texts,
    keep_prompts,
    mark_prompts,
    read_population,
)

# The ranks of a prompt's texts, in the order of `TEXTS`; None: it has no such text.
RANKS = {
    0: (0, 0, 0, 9, 9),  # knows all
    1: (5, 0, 0, 9, 9),  # misses the composition
    2: (5, 0, 5, 9, 9),  # lacks the first hop
    3: (5, 5, 0, 9, 9),  # lacks the second
    4: (5, 0, None, None, None),  # has no description
    5: (5, 0, 0, 0, 9),  # is answered without the entity
    6: (5, 0, 0, 9, 0),  # without the relation
    7: (5, 0, 0, 9, 9),  # names its memory
}
PAIRS = pd.DataFrame(
    {
        "prompt_id": list(RANKS),
        "explicit_prompt": [f"Ada{name} was born in" for name in RANKS],
        "obscure_prompt": [f"The {'friend of Ada7' if name == 7 else 'poet'} was born in" for name in RANKS],
        "memory": [f"Ada{name}" for name in RANKS],
        "answer": "London",
        "dataset": "d",
    }
)


@pytest.fixture
def texts() -> pd.DataFrame:
    rows = [
        {"prompt_id": name, "text": text, "rank": rank}
        for name, ranks in RANKS.items()
        for text, rank in zip(TEXTS, ranks, strict=True)
        if rank is not None
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("population", "leave_out", "known_rank", "expected"),
    [
        ("all", (), 1, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("both_hops_known", (), 1, [0, 1, 5, 6, 7]),
        ("both_hops_known", (), 6, [0, 1, 2, 3, 5, 6, 7]),
        ("composition_missed", (), 1, [1, 5, 6, 7]),
        ("composition_missed", ("words",), 1, [1, 5, 6]),
        ("composition_missed", ("words", "without_entity", "without_relation"), 1, [1]),
        ("all", ("without_entity",), 1, [0, 1, 2, 3, 4, 6, 7]),
        ("composition_missed", (), 6, []),
    ],
)
def test_the_prompts_that_count(
    texts: pd.DataFrame, population: str, leave_out: tuple[str, ...], known_rank: int, expected: list[int]
) -> None:
    marks = mark_prompts(PAIRS, judge_texts(texts, known_rank))
    chosen = choose_prompts(marks, population, leave_out)  # type: ignore[arg-type]
    assert chosen.index[chosen["counted"]].tolist() == expected


def test_a_prompt_that_no_text_of_can_be_scored_does_not_count(texts: pd.DataFrame) -> None:
    marks = mark_prompts(PAIRS, judge_texts(texts[texts["prompt_id"] != 1], 1))
    assert marks.index.tolist() == list(RANKS)
    assert not marks.loc[1, ["both_hops_known", "composition_missed"]].any()


def test_the_choice_is_written_once_and_read_by_name(texts: pd.DataFrame, tmp_path: Path) -> None:
    chosen = choose_prompts(mark_prompts(PAIRS, judge_texts(texts, 1)), "composition_missed", ())
    chosen.reset_index().assign(model="m", dataset="d").to_parquet(tmp_path / "one.parquet")
    counted = read_population([tmp_path / "one.parquet"])["m", "d"]
    assert counted.tolist() == [1, 5, 6, 7]
    cells = pd.DataFrame({"prompt_id": [0, 1, 1, 7]})
    assert keep_prompts(cells, counted)["prompt_id"].tolist() == [1, 1, 7]
    assert keep_prompts(cells, None) is cells
    table = count_population([tmp_path / "one.parquet"], {"d": PAIRS}, "composition_missed")
    (row,) = table.to_dict("records")
    assert (row["n_prompts"], row["n_counted"]) == (8, 4)
    assert (row["n_both_hops_known"], row["n_words"], row["n_clusters"]) == (5, 1, 4)
    said = describe_population(table.iloc[0])
    assert said == "m on d (4 of 8 prompts, in 4 clusters: too few for a verdict, which takes 6)"
    assert describe_population(table.assign(n_clusters=6).iloc[0]) == "m on d (4 of 8 prompts, in 6 clusters)"
    assert read_population([]) == {}
