"""Local files that a study names are checked before anything runs."""

from pathlib import Path

import pytest
from conftest import tiny_study
from memory_injections.config.messages import describe_error
from memory_injections.config.study import parse_study
from memory_injections.errors import LayerError, StudyError
from memory_injections.jobs.checks import check_inputs, check_known_models


def test_missing_records_are_found_beforehand(tiny_models: dict[str, Path]) -> None:
    data = {"d": {"source": "2wikimultihop", "path": "no.json", "size": 5}}
    study = parse_study(tiny_study(tiny_models["llama"], datasets=data))
    with pytest.raises(StudyError, match=r"config key datasets.d.path: file no.json does not exist; correct the path"):
        check_inputs(study)


def test_a_layer_that_a_known_model_does_not_have_is_refused_beforehand(tmp_path: Path) -> None:
    study = parse_study(tiny_study(Path("unused"), injection={"layers": [3]}))
    manifest = tmp_path / "manifest.json"
    check_known_models(study, [manifest])
    manifest.write_text('{"n_layers": 4}')
    check_known_models(study, [manifest])
    manifest.write_text('{"n_layers": 3}')
    with pytest.raises(LayerError, match=r"^layer 3 is out of range; the model has 3 layers: 0 to 2$") as error:
        check_known_models(study, [manifest])
    assert describe_error(error.value).startswith("config key injection.layers: layer 3 is out of range")


def test_a_column_that_no_local_data_set_has_is_found_beforehand(tiny_models: dict[str, Path]) -> None:
    study = tiny_study(tiny_models["llama"])
    check_inputs(parse_study(study | {"by": ["relation", "topic"]}))
    with pytest.raises(StudyError, match=r"^config key by: no data set has a column colour \(pairs has "):
        check_inputs(parse_study(study | {"by": ["colour"]}))
    unknown = {"d": {"source": "url", "url": "http://127.0.0.1/a.csv", "sha256": 64 * "0"}}
    check_inputs(parse_study(study | {"by": ["colour"], "datasets": study["datasets"] | unknown}))
