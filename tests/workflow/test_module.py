"""The workflow as a Snakemake module of another workflow: it finds its own resources, scripts and library."""

import os
import subprocess
from pathlib import Path

import pandas as pd
import yaml
from conftest import ROOT, tiny_study

SNAKEFILE = """
configfile: "config/config.yaml"


module memory_injections:
    snakefile:
        {snakefile!r}
    config:
        config


use rule * from memory_injections as injections_*
"""


def test_a_module_runs_in_another_folder(tiny_models: dict[str, Path], tmp_path: Path, python: Path) -> None:
    for name in ("config", "workflow"):
        (tmp_path / name).mkdir()
    snakefile = str(ROOT / "workflow" / "Snakefile")
    (tmp_path / "workflow" / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile), encoding="utf-8")
    # The default study's paths name files of this project that the other folder does not have.
    own = {"source": "file", "path": "resources/prompt_pairs.csv", "rows": 3}
    words = {"source": "file", "path": "resources/words.csv"}
    study = tiny_study(tiny_models["llama"], datasets={"pairs": own}, words=words)
    (tmp_path / "config" / "config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-m", "snakemake", "--cores", "2", "injections_report", "injections_table1"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results" / "tiny"
    assert (results / "report.html").is_file()
    assert list(pd.read_csv(results / "tables" / "table1.csv")["n_prompts"]) == [3, 3]
