"""Whatever a config holds, the checks before a run accept it or say one sentence."""

from pathlib import Path
from typing import Any

import pytest
from conftest import PAIRS, WORDS
from hostile import configs_of_schema, nearly_valid_configs
from hypothesis import HealthCheck, given, settings
from memory_injections.config.messages import LONGEST_VALUE, describe_error
from memory_injections.config.study import parse_study
from memory_injections.errors import StudyError
from memory_injections.jobs.checks import check_inputs, check_known_models

FUZZED = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the valid config names."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "folder").mkdir()
    for name, text in {"config.json": '{"n_layer": 3}', "model.safetensors": "", "tokenizer.json": "{}"}.items():
        (folder / "folder" / name).write_text(text, encoding="utf-8")
    (folder / "pairs.csv").write_bytes(PAIRS.read_bytes())
    (folder / "words.csv").write_bytes(WORDS.read_bytes())
    return folder


def check(config: dict[str, Any], folder: Path) -> None:
    """Check a config as the workflow does, before it plans."""
    try:
        study = parse_study(config, folder)
        check_inputs(study)
        check_known_models(study, [])
        assert study.list_sweeps() or study.is_reanalysis
    except StudyError as error:
        sentence = describe_error(error)
        assert sentence.isprintable()
        assert 10 < len(sentence) < 500 + 4 * LONGEST_VALUE


@FUZZED
@given(config=nearly_valid_configs())
def test_a_nearly_valid_config(config: dict[str, Any], folder: Path) -> None:
    check(config, folder)


@FUZZED
@given(config=configs_of_schema())
def test_a_config_that_the_schema_allows(config: dict[str, Any], folder: Path) -> None:
    check(config, folder)
