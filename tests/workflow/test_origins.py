"""Results know what they were made of: whatever happened to them, to Snakemake's records or to a job, the same command
ends in the results of a fresh run, or in one sentence."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import psutil
import pytest
from checkout import Checkout
from faults import read_results
from small_study import COMPUTER, LIBRARY, list_differences, make_study, run_anew

RESULTS = "results/tiny"
DONE = "Nothing to be done"


@pytest.fixture(scope="module")
def base(tiny_models: dict[str, Path], python: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished study that tests copy."""
    checkout = make_study(tmp_path_factory.mktemp("base"), python, tiny_models["llama"])
    checkout.snakemake()
    return checkout


@pytest.fixture
def copy(base: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished study, as a user makes one: dates are those of copying."""
    shutil.copytree(base.folder, tmp_path / "copy", symlinks=True, copy_function=shutil.copyfile)
    return Checkout(tmp_path / "copy", deepcopy(base.config), base.python)


def find_script(folder: Path, name: str) -> psutil.Process | None:
    """Return the process that runs a script in a folder."""
    for process in psutil.process_iter(["name", "cwd"]):
        # Linux keeps 15 characters of a process's name.
        if process.info["name"] == name[:15] and process.info["cwd"] == str(folder):
            return process
    return None


def wait_for_script(run: subprocess.Popen[str], folder: Path, name: str) -> psutil.Process:
    """Wait until a run's script is at work."""
    while run.poll() is None:
        if (process := find_script(folder, name)) is not None:
            return process
        time.sleep(0.01)
    raise AssertionError("".join(run.communicate()))


@pytest.mark.parametrize(
    ("script", "file", "old", "new"),
    [
        ("inject.py", f"{LIBRARY}/models/limits.py", "MIN_ROWS = 32", "MIN_ROWS = 64"),
        ("tables.py", f"{LIBRARY}/analysis/breakdown.py", "FEWEST_PROMPTS = 5", "FEWEST_PROMPTS = 1"),
    ],
)
def test_a_killed_job_is_made_by_the_same_command(
    script: str, file: str, old: str, new: str, copy: Checkout, tmp_path: Path
) -> None:
    copy.replace(file, old, new)
    run = copy.start()
    wait_for_script(run, copy.folder, script).kill()
    run.communicate()
    assert run.returncode == 1
    assert DONE not in copy.snakemake()
    assert list_differences(read_results(copy.folder), run_anew(copy, tmp_path / "fresh")) == []
    assert DONE in copy.snakemake()


@pytest.mark.parametrize(
    "file",
    ["tables/contrasts.csv", "cells/llama/mine/1-of-1.parquet", "figures/effect.llama.mine.nouns.unembed.pdf"],
)
def test_a_result_removed_by_hand_comes_back(file: str, copy: Checkout) -> None:
    path = copy.folder / RESULTS / file
    path.unlink()
    packed = copy.pack()
    assert packed.returncode == 1
    assert "study tiny is not finished: " in packed.stderr
    copy.snakemake()
    assert path.is_file()
    assert DONE in copy.snakemake()


def lose_records(checkout: Checkout) -> None:
    shutil.rmtree(checkout.folder / ".snakemake")


def lose_records_and_report(checkout: Checkout) -> None:
    lose_records(checkout)
    (checkout.folder / RESULTS / "report.html").unlink()


@pytest.mark.parametrize("lose", [lose_records, lose_records_and_report, lambda _: None])
def test_old_results_never_pass_for_those_of_a_new_config(
    lose: Callable[[Checkout], None], copy: Checkout, tmp_path: Path
) -> None:
    lose(copy)
    copy.config["seed"] = 5
    copy.config["injection"]["magnitudes"] = [1, 4, 9]
    copy.snakemake()
    assert list_differences(read_results(copy.folder), run_anew(copy, tmp_path / "fresh")) == []


def test_a_change_behind_another_that_only_ancient_files_connect(copy: Checkout, tmp_path: Path) -> None:
    """Activations wait for the text check, and are not made of it; Snakemake looks at no job behind one that runs."""
    copy.replace(f"{LIBRARY}/models/text_check.py", "SHORT = 2", "SHORT = 3")
    copy.replace(COMPUTER, "logits.log_softmax", "logits.mul(0.5).log_softmax")
    planned = copy.plan()
    assert {"text_check", "inject", "evidence"} <= planned.keys()
    assert "activations" not in planned
    copy.snakemake()
    assert list_differences(read_results(copy.folder), run_anew(copy, tmp_path / "fresh")) == []
    assert DONE in copy.snakemake()


def test_without_snakemakes_records_a_finished_study_stays_finished(copy: Checkout) -> None:
    lose_records(copy)
    assert DONE in copy.snakemake()


def test_results_of_an_earlier_state_or_another_checkout_are_made_again(copy: Checkout, tmp_path: Path) -> None:
    results, earlier = copy.folder / "results", tmp_path / "earlier"
    shutil.copytree(results, earlier, symlinks=True)
    copy.config["datasets"]["mine"]["rows"] = 9
    copy.snakemake()
    expected = read_results(copy.folder)
    shutil.rmtree(results)
    shutil.copytree(earlier, results, symlinks=True)  # `cp -r`, sidecars included
    copy.snakemake()
    assert list_differences(read_results(copy.folder), expected) == []
    shutil.rmtree(results)
    results.symlink_to(earlier)
    copy.snakemake()
    assert list_differences(read_results(copy.folder), expected) == []


def test_a_swapped_result_is_made_again(copy: Checkout, tmp_path: Path) -> None:
    """It has a valid checksum of its own, and an old date; a result without one is not trusted either."""
    expected = read_results(copy.folder)
    other = tmp_path / "other"
    shutil.copytree(copy.folder, other, symlinks=True)
    changed = Checkout(other, copy.config | {"seed": 7}, copy.python)
    changed.snakemake()
    for name in ("evidence.csv", ".evidence.csv.xxh3"):
        shutil.copy2(other / RESULTS / "tables" / name, copy.folder / RESULTS / "tables" / name)
        os.utime(copy.folder / RESULTS / "tables" / name, (1e9, 1e9))
    assert copy.plan()["evidence"] == 1
    table = copy.folder / RESULTS / "tables" / "table3.csv"
    table.with_name(".table3.csv.xxh3").unlink()
    table.write_text("a table from elsewhere\n")
    os.utime(table, (1e9, 1e9))
    sweeps = copy.folder / RESULTS / "injections" / "llama" / "mine"
    for form in ("{}", ".{}.xxh3"):  # a result of this very study, in another's place
        shutil.copy2(*(sweeps / form.format(f"{memories}.unembed.parquet") for memories in ("nouns", "curated")))
    copy.snakemake()
    assert list_differences(read_results(copy.folder), expected) == []


def test_triggers_that_hide_changes_are_refused(copy: Checkout) -> None:
    copy.config["seed"] = 5
    done = copy.call("--rerun-triggers", "mtime")
    assert done.returncode == 1
    assert "rerun triggers without `params` would take results of another config" in done.stderr


def edit_while_running(checkout: Checkout, during: str) -> subprocess.CompletedProcess[str]:
    """Edit the engine while a run's script is at work, and take it back when the run has ended."""
    run = checkout.start()
    wait_for_script(run, checkout.folder, during)
    checkout.replace(COMPUTER, "logits.log_softmax", "logits.mul(0.5).log_softmax")
    said = run.communicate()
    checkout.put_back()
    return subprocess.CompletedProcess(run.args, run.returncode, *said)


@pytest.mark.parametrize("during", ["processed_weights.py", "inject.py"])
def test_code_that_is_edited_during_a_run_makes_no_result(during: str, copy: Checkout) -> None:
    expected = read_results(copy.folder)
    shutil.rmtree(copy.folder / "results")
    done = edit_while_running(copy, during)
    assert done.returncode == 1
    assert "changed while the study ran; leave it alone and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    copy.snakemake()
    assert list_differences(read_results(copy.folder), expected) == []


def test_a_typo_in_the_data_and_its_undo_change_nothing(copy: Checkout) -> None:
    expected = read_results(copy.folder)
    whole = (copy.folder / "mine.csv").read_text(encoding="utf-8")
    copy.write("mine.csv", whole.replace("explicit_prompt", "explicit_promt"))
    done = copy.call()
    assert done.returncode == 1
    copy.put_back()
    # Another study of the same folder whose data set has the same name, and fails.
    (copy.folder / "other.csv").write_text("no,prompts\n1,2\n", encoding="utf-8")
    copy.config |= {"study": "other", "datasets": {"mine": {"source": "file", "path": "other.csv"}}}
    assert copy.call().returncode == 1
    shutil.rmtree(copy.folder / "results" / "other")
    copy.put_back()
    assert DONE in copy.snakemake()
    assert list_differences(read_results(copy.folder), expected) == []


def test_a_moved_project_has_nothing_to_do(copy: Checkout, tmp_path: Path) -> None:
    copy.folder.rename(tmp_path / "moved")
    moved = Checkout(tmp_path / "moved", copy.config, copy.python)
    assert DONE in moved.snakemake()


@pytest.fixture
def orphan(copy: Checkout) -> Iterator[psutil.Process]:
    """The script of a job whose Snakemake was killed."""
    scripts = copy.folder / ".snakemake" / "scripts"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / "tmp1a2b3c.inject.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    starter = subprocess.run(
        ["bash", "-c", f"sleep 600 & python3 {scripts}/tmp1a2b3c.inject.py > /dev/null 2>&1 & echo $!; kill %1"],
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    process = psutil.Process(int(starter.stdout))
    yield process
    with suppress(psutil.NoSuchProcess):
        process.kill()


def test_no_run_starts_while_a_job_of_a_killed_one_is_at_work(copy: Checkout, orphan: psutil.Process) -> None:
    copy.config["seed"] = 5
    done = copy.call()
    assert done.returncode == 1
    assert (
        f"an earlier run was killed, and process {orphan.pid} (inject.py) of it is still at work here; "
        f"wait for that, or end it first: kill {orphan.pid}"
    ) in done.stderr
    assert copy.plan()["inject"] == 1  # a dry run tells what there is to do
    orphan.kill()
    orphan.wait()
    assert DONE not in copy.snakemake()
