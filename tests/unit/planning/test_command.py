"""The command behind `make plan`: its table, and one sentence for every error that a user can correct."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PAIRS, tiny_study
from memory_injections.planning.command import main

UNKNOWN_MODEL = {"m": {"source": "pypi", "package": "some-model==1.0", "file": "m.gguf", "sha256": 64 * "0"}}
UNKNOWN_DATA = {"d": {"source": "url", "url": "https://a.org/b.csv", "sha256": 64 * "0"}}


def write_config(folder: Path, study: dict[str, Any]) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return str(path)


def test_command(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    config = write_config(tmp_path, tiny_study(tiny_models["llama"], attribution={"bos": False}))
    command = [sys.executable, "-m", "memory_injections.planning.command", "--config", config, "--gpu", "h100"]
    done = subprocess.run(command, text=True, capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"^(?:lens|activations|attribution|cells) tiny.*", done.stdout, re.MULTILINE)
    assert len(jobs) == 5
    assert f" {4 * 3 * 2 * 2} " in jobs[-1]
    assert str(tiny_models["llama"]) in done.stdout
    assert str(PAIRS) in done.stdout
    assert "float32 at 44.4 TFLOP/s on h100" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "changes", "sentence"),
    [
        (["--gpu", "h1000"], {}, "no GPU 'h1000' is known; known: h100, a100-40"),
        (["--config", "missing.yaml"], {}, "config missing.yaml cannot be read"),
        (["--config", str(PAIRS)], {}, "is neither YAML nor JSON|is no mapping of keys"),
        (
            ["--config", str(Path(__file__).parents[3] / "config" / "README.md")],
            {},
            "is neither YAML nor JSON .line 3: found",
        ),
        ([], {"injection": {"layers": [5]}}, "config key injection.layers: layer 5 is out of range"),
        ([], {"shards": 9}, "config key shards: 9 jobs cannot share out 3 layers"),
        (["--gpu", "cpu"], {"precision": "bfloat16"}, "config key precision: no rate of bfloat16 is known for cpu"),
        ([], {"models": UNKNOWN_MODEL}, "is not known before it is fetched; .* --shared in which folder"),
        (
            ["--shared", "there"],
            {"models": UNKNOWN_MODEL},
            "fetch it with `snakemake --cores 1 there/models/m/manifest.json --configfile [^ ]+/study.yaml`$",
        ),
        ([], {"datasets": UNKNOWN_DATA}, "is not known before it is fetched; say it with --prompts$"),
        (
            ["--shared", "there"],
            {"datasets": UNKNOWN_DATA},
            "--prompts .`snakemake --cores 1 there/datasets/d.csv --configfile [^ ]+/study.yaml` fetches them",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str],
    changes: dict[str, Any],
    sentence: str,
    tiny_models: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = write_config(tmp_path, tiny_study(tiny_models["llama"], **changes))
    assert main(["--config", config, *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(sentence, printed.err.rstrip("\n"))
    assert printed.err.count("\n") == 1


def test_prompts_stand_in_for_data_whose_size_nothing_tells(
    tiny_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, tiny_study(tiny_models["llama"], datasets=UNKNOWN_DATA))
    assert main(["--config", config, "--prompts", "50"]) == 0
    assert re.search(rf"^cells tiny/d +{50 * 3 * 2 * 2} ", capsys.readouterr().out, re.MULTILINE)


def test_a_re_analysis_has_nothing_to_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = {"source": "folder", "path": str(tmp_path)}
    assert main(["--config", write_config(tmp_path, {"study": "theirs", "published": published})]) == 1
    assert "has no models: a re-analysis of published results needs no plan" in capsys.readouterr().err
