"""Starting a script by hand to make one file of a finished study, without Snakemake's command line."""

import subprocess
import sys

import pandas as pd
from checkout import Checkout


def call(checkout: Checkout, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"workflow/scripts/{script}.py", *arguments]
    return subprocess.run(
        command, cwd=checkout.folder, env=checkout.environment, text=True, capture_output=True, check=False
    )


def test_a_script_remakes_its_file(edited: Checkout) -> None:
    file = "results/tiny/figures/change.llama.mine.curated.unembed.png"
    path = edited.folder / file
    before = path.read_bytes()
    edited.write(file, "none")
    done = call(edited, "figures", file, "--configfile", "study.yaml")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before


def test_an_edit_shows_at_once(edited: Checkout) -> None:
    file = "results/tiny/tables/table3.csv"
    before = pd.read_csv(edited.folder / file)
    edited.write(file, "none")
    edited.replace(
        "workflow/memory_injections/analysis/paper_tables.py",
        'BEST_BY = (PAPER_AVERAGE, "effect")',
        'BEST_BY = ("effect",)',
    )
    done = call(edited, "tables", file, "--configfile", "study.yaml")
    assert done.returncode == 0, done.stderr
    by_effect = before[before["best_by"] == "effect"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv(edited.folder / file), by_effect)


def test_a_file_that_no_rule_makes_is_one_sentence(finished: Checkout) -> None:
    done = call(finished, "figures", "results/tiny/figures/none.png", "--configfile", "study.yaml")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("no rule makes results/tiny/figures/none.png; name a file")
    assert "Traceback" not in done.stderr


def test_a_wrong_config_is_the_sentence_that_snakemake_prints(edited: Checkout) -> None:
    edited.replace("study.yaml", "models:", "model:")
    file = "results/tiny/figures/change.llama.mine.curated.unembed.png"
    done = call(edited, "figures", file, "--configfile", "study.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("config key model is unknown")
    assert "Traceback" not in done.stderr
