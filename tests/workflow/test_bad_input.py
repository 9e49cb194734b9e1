"""Any error in a study ends it with one sentence, and no output is left half-written."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import PAIRS, ROOT, WORDS, Run, tiny_study
from hostile import nearly_valid_configs
from hypothesis import HealthCheck, Phase, given, settings


def write_pairs(folder: Path, change: Any) -> str:
    table = pd.read_csv(PAIRS).head(3)
    change(table).to_csv(folder / "bad.csv", index=False)
    return str(folder / "bad.csv")


def without_weights(folder: Path, model: Path) -> str:
    shutil.copytree(model, folder / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    return str(folder / "empty")


def broken(folder: Path, model: Path, file: str) -> dict[str, Any]:
    """A study whose model has one truncated file."""
    shutil.copytree(model, folder / "broken")
    content = (model / file).read_bytes()
    (folder / "broken" / file).write_bytes(content[: len(content) // 2])
    return {"models": {"tiny": {"source": "local", "path": str(folder / "broken")}}}


def dataset(path: str) -> dict[str, Any]:
    return {"datasets": {"pairs": {"source": "file", "path": path}}}


BAD: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str]] = {
    "unknown key": (lambda folder, model: {"layers": "all"}, "config key layers is unknown"),
    "encoding": (
        lambda folder, model: {"injection": {"encodings": ["unmbed"]}},
        "config key injection.encodings.0 is 'unmbed'; allowed: 'unembed', 'unembed_spaced', 'embed' or 'layer'",
    ),
    "layer": (
        lambda folder, model: {"injection": {"layers": [3]}},
        "config key injection.layers: layer 3 is out of range; the model has 3 layers: 0 to 2",
    ),
    "memory": (
        lambda folder, model: {"injection": {"memories": ["nuns"]}},
        "config key injection.memories: the word list has no column 'nuns'; allowed: curated, nouns",
    ),
    "missing file": (lambda folder, model: dataset("no.csv"), "config key datasets.pairs.path: file no.csv does not"),
    "missing column": (
        lambda folder, model: dataset(write_pairs(folder, lambda table: table.drop(columns="answer"))),
        "bad.csv has no column answer",
    ),
    "empty column": (
        lambda folder, model: dataset(write_pairs(folder, lambda table: table.assign(memory=""))),
        "bad.csv: column memory is empty in row 0",
    ),
    "answer without text": (
        lambda folder, model: dataset(write_pairs(folder, lambda table: table.assign(answer="\u200b"))),
        "bad.csv: column answer is empty in row 0",
    ),
    "special token": (
        lambda folder, model: dataset(write_pairs(folder, lambda table: table.assign(answer="<|bos|>"))),
        "prompt pairs 0, 1 and 2 cannot be scored, the first because '<|bos|>' is a special token of the",
    ),
    "no weights": (
        lambda folder, model: {"models": {"tiny": {"source": "local", "path": without_weights(folder, model)}}},
        "empty has no weights (model*.safetensors",
    ),
    "damaged weights": (
        lambda folder, model: broken(folder, model, "model.safetensors"),
        "broken/model.safetensors are da",
    ),
    "damaged config": (
        lambda folder, model: broken(folder, model, "config.json"),
        "broken/config.json is not a JSON object",
    ),
    "no model": (
        lambda folder, model: {"models": {"tiny": {"source": "local", "path": "nowhere"}}},
        "model folder nowhere does not exist",
    ),
    "no network": (
        lambda folder, model: {
            "datasets": {"pairs": {"source": "url", "url": "http://127.0.0.1:9/pairs.csv", "sha256": 64 * "0"}}
        },
        "cannot download http://127.0.0.1:9/pairs.csv",
    ),
}


BAD_DATA = {"missing column", "empty column", "answer without text", "no network"}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str, tmp_path: Path, tiny_models: dict[str, Path], snakemake: Run) -> None:
    change, sentence = BAD[case]
    study = tiny_study(tiny_models["llama"], **change(tmp_path, tiny_models["llama"]))
    memory = "nuns" if case == "memory" else "curated"
    targets = ["results/shared/datasets/pairs.csv", f"results/tiny/injections/tiny/pairs/{memory}.unembed.parquet"]
    done = snakemake(tmp_path, study, *targets)
    assert done.returncode != 0
    lines = [line for line in (done.stderr + done.stdout).splitlines() if sentence in line]
    assert lines, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / targets[1]).exists()
    if case in BAD_DATA:
        assert not (tmp_path / targets[0]).exists()
    elif case == "special token":
        made = {path.parent.name for path in tmp_path.glob("results/shared/*/*")}
        assert made == {"datasets", "models"}  # nothing was computed with the model
    elif case == "damaged weights":
        assert not list(tmp_path.glob("results/shared/models/tiny/*"))
    else:
        assert not (tmp_path / "results").exists()
    leftovers = [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert not leftovers


@pytest.mark.parametrize("family", ["BitNet", "Jamba"])
def test_nothing_is_computed_with_a_model_that_is_refused(
    family: str, tmp_path: Path, tiny_models: dict[str, Path], snakemake: Run
) -> None:
    from architectures import REFUSED

    shutil.copytree(tiny_models["llama"], tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors", "config*"))
    REFUSED[family].build().save_pretrained(tmp_path / "model")
    done = snakemake(tmp_path, tiny_study(tmp_path / "model"), "--keep-going")
    assert done.returncode != 0
    assert f"architecture {family}ForCausalLM is not supported because " in done.stderr
    assert "Traceback" not in done.stderr
    made = {path.name for path in (tmp_path / "results").rglob("*") if path.suffix in (".safetensors", ".parquet")}
    assert made <= {"model.safetensors", "pairs.parquet"}  # the model itself, and the text check, which asks no model


@settings(
    deadline=None, max_examples=5, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(config=nearly_valid_configs())
def test_a_dry_run_plans_or_says_one_sentence(
    config: dict[str, Any], tmp_path: Path, tiny_models: dict[str, Path], snakemake: Run
) -> None:
    for name, source in {"pairs.csv": PAIRS, "words.csv": WORDS}.items():
        shutil.copy(source, tmp_path / name)
    shutil.copytree(tiny_models["llama"], tmp_path / "folder", dirs_exist_ok=True)
    done = snakemake(tmp_path, config, "--dry-run")
    # A dry run reports errors on standard output.
    lines = (done.stderr + done.stdout).splitlines()
    if done.returncode == 0:
        assert any(line.startswith("This was a dry-run") for line in lines)
    else:
        said = [line for line in lines if line and not line.startswith(("Using workflow", "  File "))]
        assert len(said) == 2, said
        assert said[0].startswith("WorkflowError in file")


def test_a_key_given_twice(tmp_path: Path, tiny_models: dict[str, Path], python: Path) -> None:
    text = yaml.safe_dump(tiny_study(tiny_models["llama"])) + "seed: 1\nseed: 2\n"
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    command = [str(python), "-m", "snakemake", "--snakefile", str(ROOT / "workflow/Snakefile"), "--dry-run"]
    done = subprocess.run(
        [*command, "--configfile", "study.yaml"], cwd=tmp_path, text=True, capture_output=True, env=os.environ
    )
    assert done.returncode != 0
    assert "study.yaml gives the key 'seed' (line " in done.stderr + done.stdout
