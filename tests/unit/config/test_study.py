"""Parsing a config: what is allowed, and what it means."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from memory_injections.config.study import parse_study
from memory_injections.errors import StudyError
from memory_injections.sweeps.grid import LayerStep
from memory_injections.sweeps.identity import SweepId

MODELS = {"m": {"source": "local", "path": "folder"}}
DATA = {"d": {"source": "file", "path": "pairs.csv"}}
MINIMAL: dict[str, Any] = {"study": "demo", "models": MODELS, "datasets": DATA}


def test_defaults() -> None:
    study = parse_study(MINIMAL)
    assert study.list_kinds() == [("curated", "unembed", False)]
    assert study.injection[0].magnitudes == tuple(range(1, 16))
    assert (study.attribution.top_k, study.attribution.bos) == (30, True)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.stem)
def test_our_own_configs_are_valid(file: Path) -> None:
    study = parse_study(yaml.safe_load(file.read_text(encoding="utf-8")))
    assert file.stem in (study.study, "config", "mine")
    assert study.list_sweeps() or study.is_reanalysis
    assert set(study.shards if isinstance(study.shards, dict) else {}) <= set(study.models)


def test_one_grid_and_a_list_of_grids() -> None:
    words = {"source": "file", "path": "words.csv"}
    one = parse_study(MINIMAL | {"words": words, "injection": {"memories": ["curated", "nouns"]}})
    two = parse_study(MINIMAL | {"words": words, "injection": [{}, {"memories": ["nouns"], "layers": {"step": 2}}]})
    assert one.list_kinds() == two.list_kinds() == [("curated", "unembed", False), ("nouns", "unembed", False)]
    assert one.list_random_memories() == two.list_random_memories() == ["nouns"]
    nouns = two.injection[1]
    assert nouns.list_kinds() == [("nouns", "unembed", False)]
    assert nouns.layers == LayerStep(step=2)
    assert nouns.list_layers(5) == [0, 2, 4]


def test_a_study_lists_every_sweep_in_the_order_of_models_and_data_sets() -> None:
    study = parse_study(MINIMAL | {"models": {"b": MODELS["m"], "a": MODELS["m"]}, "shards": {"b": 3}})
    assert study.list_sweeps() == [SweepId(model, "d", "curated", "unembed") for model in ("a", "b")]
    assert (study.count_shards("a"), study.count_shards("b")) == (1, 3)
    (sweep,) = study.expand_grids(4)
    assert (sweep.layers, sweep.cells_per_prompt) == ([0, 1, 2, 3], 4 * 15)


def test_a_path_may_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    study = parse_study(MINIMAL | {"models": {"m": {"source": "local", "path": "~/models/m"}}})
    assert study.models["m"].local_folder == tmp_path / "models/m"


def test_precision() -> None:
    assert parse_study(MINIMAL).precision == "float32"
    with pytest.raises(StudyError, match="config key precision is 'fp16'; allowed: 'float32', 'tf32' or 'bfloat16'"):
        parse_study(MINIMAL | {"precision": "fp16"})


def test_a_study_of_the_authors_results_alone() -> None:
    theirs = {"source": "folder", "path": "theirs"}
    assert parse_study({"study": "again", "published": theirs}).is_reanalysis
    assert not parse_study(MINIMAL | {"published": theirs}).is_reanalysis
    with pytest.raises(StudyError, match="config key datasets is missing"):
        parse_study({"study": "again", "published": theirs, "models": MODELS})


def test_which_prompts_count() -> None:
    study = parse_study(MINIMAL)
    assert (study.has_population, study.by, study.known_rank) == (False, ("relation",), 1)
    part = parse_study(MINIMAL | {"population": "both_hops_known", "controls": {"known_ranks": [10, 5]}})
    assert (part.has_population, part.known_rank) == (True, 5)
    assert parse_study(MINIMAL | {"leave_out": ["words"], "controls": False}).known_rank == 1
    assert parse_study(MINIMAL | {"leave_out": ["words"]}).has_population
    with pytest.raises(StudyError, match="by: 'topic' stands in the list twice"):
        parse_study(MINIMAL | {"by": ["topic", "topic"]})


@pytest.mark.parametrize("keys", [{"population": "composition_missed"}, {"leave_out": ["words"]}])
def test_a_reanalysis_has_no_answers_to_single_facts(keys: dict[str, Any]) -> None:
    again = {"study": "again", "published": {"source": "folder", "path": "theirs"}}
    assert parse_study(again | {"population": "all", "leave_out": [], "by": []}).is_reanalysis
    with pytest.raises(StudyError, match=f"{next(iter(keys))}: .* the authors published no such answers"):
        parse_study(again | keys)
