"""Small tables in the form of the field's data sets: TwoHopFact and SOCRATES, Hopping Too Late, and MQuAKE."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

Record = dict[str, Any]


def _make_fact(uid: int, novel: str, author: str, city: str, aliases: tuple[tuple[str, ...], ...]) -> Record:
    first, description = f"The author of the novel {novel}", "birthcity of novel's author"
    return {
        "uid": uid,
        "fact_comp_type": description,
        "e1.value": novel,
        "e2.value": author,
        "e3.value": city,
        "e3.aliases": aliases,
        "r1(e1).prompt": f"{first} is",
        "r2(e2).prompt": f"{author} was born in the city of",
        "r2(r1(e1)).prompt": f"{first} was born in the city of",
    }


TWO_HOP_FACT = [
    _make_fact(
        0, "Nineteen Eighty-Four", "George Orwell", "Motihari", (("Motihari", "Motīhāri"), ("Motihari, Bihar",))
    ),
    _make_fact(1, "Emma", "Jane Austen", "Steventon", ()),
]


def _make_query(number: int, r1: str, r2: str, names: Sequence[str], aliases: list[str]) -> Record:
    templates = [f"the {relation} of {{}}" for relation in (r1, r2)]
    return {
        "": number,
        "id": number,
        **{f"e{hop}_label": name for hop, name in enumerate(names, 1)},
        "e3_aliases": aliases,
        "r1_type": r1,
        "r2_type": r2,
        "r1_template": templates[0],
        "r2_template": templates[1],
        "source_prompt": f"the {r2} of the {r1} of {names[0]} is",
    }


HOPPING_TOO_LATE = [
    _make_query(0, "country of citizenship", "capital", ("Voltaire", "France", "Paris"), ["City of Light"]),
    _make_query(1, "author", "father", ("Emma", "Jane Austen", "George Austen"), ["Reverend George Austen"]),
]


def _make_case(case: int, facts: Sequence[tuple[str, str, str]], clozes: Sequence[str], aliases: list[str]) -> Record:
    return {
        "case_id": case,
        "questions": [f"question {number} of case {case}?" for number in range(3)],
        "answer": facts[-1][2],
        "answer_alias": aliases,
        "single_hops": [
            {"question": f"{cloze}?", "cloze": cloze, "answer": fact[2], "answer_alias": []}
            for cloze, fact in zip(clozes, facts, strict=True)
        ],
        "orig": {"triples_labeled": [list(fact) for fact in facts]},
    }


_SPORT = ("Dudley Town F.C.", "sport", "association football")
_ORIGIN, _CAPITAL = ("association football", "country of origin", "England"), ("England", "capital", "London")
MQUAKE = [
    _make_case(
        1,
        [_SPORT, _ORIGIN, _CAPITAL],
        [
            "Dudley Town F.C. is associated with the sport of",
            "association football was created in the country of",
            "The capital of England is",
        ],
        [],
    ),
    _make_case(
        2,
        [("Ada Lovelace", "country of citizenship", "England"), _CAPITAL],
        ["Ada Lovelace is a citizen of", "The capital of England is"],
        ["London UK"],
    ),
    _make_case(
        3,
        [("Ada Lovelace", "country of citizenship", "England"), ("The Kingdom", "capital", "London")],
        ["Ada Lovelace is a citizen of", "The capital of England is"],
        [],
    ),
    _make_case(
        4,
        [
            ("Das Kapital", "author", "Karl Marx"),
            ("Karl Marx", "languages spoken, written or signed", "German"),
        ],
        ["The author of Das Kapital is", "Karl Marx speaks the language of"],
        ["Deutsch"],
    ),
]


def write_table(records: Sequence[Record], path: Path) -> Path:
    """Write records as the file's name says: CSV with lists in Python's syntax, JSON, JSON Lines or Parquet."""
    match path.suffix:
        case ".csv":
            pd.DataFrame(records).to_csv(path, index=False)
        case ".parquet":
            pd.DataFrame(records).to_parquet(path, index=False)
        case ".json":
            path.write_text(json.dumps(records), encoding="utf-8")
        case ".jsonl":
            path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return path
