"""The workflow as a user runs it: to the end, again, and wrongly."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PAIRS, ROOT, Run, tiny_study
from hub import serve
from memory_injections.sweeps.cell_plan import draw_word

GRIDS = [
    {"magnitudes": [1, 4]},
    {"encodings": ["layer"], "layers": [0, 2], "magnitudes": [2]},
    {"memories": ["nouns", "adverbs"], "encodings": ["unembed"], "layers": {"step": 2}, "magnitudes": [4]},
    {"memories": ["Verbs"], "encodings": ["layer", "embed"], "layers": [1], "magnitudes": [1]},
]


@pytest.fixture(scope="session")
def study_folder(tiny_models: dict[str, Path], snakemake: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole tiny study, run to its report."""
    folder = tmp_path_factory.mktemp("study")
    done = snakemake(folder, tiny_study(tiny_models["llama"], injection=GRIDS))
    assert done.returncode == 0, done.stderr
    return folder


def test_second_run_does_nothing(study_folder: Path, tiny_models: dict[str, Path], snakemake: Run) -> None:
    again = snakemake(study_folder, tiny_study(tiny_models["llama"], injection=GRIDS))
    assert again.returncode == 0
    assert "Nothing to be done" in again.stderr + again.stdout


def test_cells(study_folder: Path) -> None:
    injections = study_folder / "results/tiny/injections/tiny/pairs"
    curated = pd.read_parquet(injections / "curated.unembed.parquet")
    assert len(curated) == 4 * 3 * 2
    assert not curated.isna().any(axis=None)
    assert {"prompt_id", "layer", "magnitude", "memory", "p_explicit", "p_obscure", "p_injected", "rank_obscure",
            "rank_injected"} <= set(curated)  # fmt: skip
    assert curated["p_injected"].between(0, 1).all()
    assert (curated.groupby("prompt_id")["p_obscure"].nunique() == 1).all()
    nouns = pd.read_parquet(injections / "nouns.unembed.parquet")
    words = pd.read_csv(ROOT / "resources" / "words.csv")["nouns"].dropna().tolist()
    assert sorted(nouns["layer"].unique()) == [0, 2]
    for cell in nouns.itertuples():
        drawn = draw_word(words, 0, "nouns", cell.prompt_id, cell.layer, cell.magnitude)  # type: ignore[arg-type]
        assert cell.memory == drawn
    assert nouns["memory"].nunique() > 1


def test_attribution(study_folder: Path) -> None:
    folder = study_folder / "results/tiny/attribution/tiny"
    top = pd.read_parquet(folder / "pairs.parquet")
    assert len(top) == 4 * 2 * 3 * 4 * 5
    assert list(top["rank"].unique()) == [0, 1, 2, 3, 4]
    targets = pd.read_parquet(study_folder / "results/tiny/attribution-targets/tiny/pairs.parquet")
    assert len(targets) == 4 * 2 * 3 * 4 * 2
    keys = ["prompt_id", "prompt_kind", "layer", "head", "rank"]
    both = targets[targets["rank"] < 5].merge(top, on=keys)
    assert len(both) == (targets["rank"] < 5).sum() > 0
    assert (both["token_id_x"] == both["token_id_y"]).all()
    assert (both["logit_x"] == both["logit_y"]).all()


def test_tables(study_folder: Path) -> None:
    tables = {path.stem: pd.read_csv(path) for path in (study_folder / "results/tiny/tables").glob("*.csv")}
    assert set(tables) == {
        "table1", "table2", "table3", "robustness", "curated_against_random", "scorecard", "claims",
    }  # fmt: skip
    assert set(tables["curated_against_random"]["memories"]) == set(tables["table3"]["memories"]) - {"curated"}
    assert tables["scorecard"]["authors"].isna().all()
    assert list(tables["table1"]["n_prompts"]) == [4, 4]
    assert len(tables["table2"]) == 4
    table3 = tables["table3"]
    assert set(table3["memories"]) == {"curated", "nouns", "adverbs", "verbs"}
    curated = table3[table3["memories"] == "curated"]
    assert (curated["n_prompts"] == 4).all()
    cells = pd.read_parquet(study_folder / "results/tiny/injections/tiny/pairs/curated.unembed.parquet")
    best = curated.query("encoding == 'unembed' and best_by == 'mean'").iloc[0]
    change = 100 * (cells["p_injected"] / cells["p_obscure"] - 1)
    means = change.groupby([cells["layer"], cells["magnitude"]]).mean()
    assert best["mean"] == pytest.approx(means.max(), rel=1e-4)
    assert means.idxmax() == (best["layer"], best["magnitude"])


def test_figures_show_something(study_folder: Path) -> None:
    pngs = sorted((study_folder / "results/tiny/figures").glob("*.png"))
    kinds = {path.name.split(".")[0] for path in pngs}
    assert kinds == {"attribution", "change", "comparison", "distribution"}
    for path in pngs:
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert matplotlib.image.imread(path)[..., :3].std() > 0.05


def test_report_stands_alone(study_folder: Path) -> None:
    page = (study_folder / "results/tiny/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(list((study_folder / "results/tiny/figures").glob("*.png")))
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|https://arxiv\.org)", page)
    manifest = json.loads((study_folder / "results/shared/models/tiny/manifest.json").read_text())
    assert manifest["files"]["model.safetensors"] in page
    assert "attribution in float32, injections in float32" in page
    for heading in ("Data", "Attribution", "Injections", "Best sites", "Caveats", "How it was made"):
        assert heading in page


def test_explorer_has_every_sweep(study_folder: Path) -> None:
    results = study_folder / "results/tiny"
    page = (results / "explorer.html").read_text(encoding="utf-8")
    index = json.loads(re.findall(r'id="index">(.*?)</script>', page)[0])
    assert {f"{sweep['memories']}.{sweep['encoding']}" for sweep in index["sweeps"] if sweep["has_cells"]} == {
        path.stem for path in (results / "injections/tiny/pairs").iterdir()
    }
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|report\.html)", page)
    assert 'id="heads-tiny/pairs"' in page


def test_walkthrough_has_run(study_folder: Path) -> None:
    """Every cell of the notebook ran; figures and numbers are in the page, and nothing comes from elsewhere."""
    notebook = nbformat.read(study_folder / "results/tiny/walkthrough.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 6
    said = " ".join(output["data"]["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {}))
    assert "The model has 3 layers of 4 heads" in said
    cells = pd.read_parquet(study_folder / "results/tiny/injections/tiny/pairs/curated.unembed.parquet")
    widest = np.log(cells["p_explicit"] / cells["p_obscure"]).idxmax()
    assert f"**{cells['p_obscure'][widest]:.6f}** after the obscure one" in said
    page = (study_folder / "results/tiny/walkthrough.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 6
    assert "Memory injections, step by step" in page
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:|")', page)


def test_snakemake_report(study_folder: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    done = subprocess.run(
        [*command, "--report", "report.zip", "--configfile", "config.yaml"], cwd=study_folder, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(study_folder / "report.zip") as report:
        figures = [name for name in report.namelist() if name.endswith(".png")]
    assert len(figures) == len(list((study_folder / "results/tiny/figures").glob("*.png")))


def write_pairs(folder: Path, change: Any) -> str:
    table = pd.read_csv(PAIRS).head(3)
    change(table).to_csv(folder / "bad.csv", index=False)
    return str(folder / "bad.csv")


def without_weights(folder: Path, model: Path) -> str:
    shutil.copytree(model, folder / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    return str(folder / "empty")


def broken(folder: Path, model: Path, file: str) -> dict[str, Any]:
    """A study whose model lacks the second half of one file."""
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
        "config key injection.encodings.0 is 'unmbed'; allowed: 'unembed', 'embed' or 'layer'",
    ),
    "layer": (
        lambda folder, model: {"injection": {"layers": [3]}},
        "layer 3, but the model has 3 layers; use layers 0",
    ),
    "memory": (
        lambda folder, model: {"injection": {"memories": ["nuns"]}},
        "no column 'nuns'; allowed: curated, nouns",
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
    elif case == "damaged weights":
        assert not list(tmp_path.glob("results/shared/models/tiny/*"))
    else:
        assert not (tmp_path / "results").exists()
    leftovers = [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert not leftovers


@pytest.mark.parametrize("file", ["pairs.csv", "truncated.csv"])
def test_wrong_checksum_and_truncated_download(
    file: str, tmp_path: Path, tiny_models: dict[str, Path], snakemake: Run
) -> None:
    table = "results/shared/datasets/pairs.csv"
    with serve(files={file: PAIRS.read_bytes()}) as hub:
        source = {"source": "url", "url": f"{hub.url}/{file}", "sha256": 64 * "0"}
        done = snakemake(tmp_path, tiny_study(tiny_models["llama"], datasets={"pairs": source}), table)
    assert done.returncode != 0
    problem = "but the config says 0000" if file == "pairs.csv" else "in 3 attempts; check the address"
    assert problem in done.stderr
    assert not list((tmp_path / "results").rglob("*.csv"))


def test_changes_rerun_what_they_affect(study_folder: Path, tiny_models: dict[str, Path], snakemake: Run) -> None:
    def planned(**changes: Any) -> set[str]:
        study = tiny_study(tiny_models["llama"], injection=GRIDS) | changes
        done = snakemake(study_folder, study, "--dry-run")
        assert done.returncode == 0, done.stderr
        return set(re.findall(r"^(?:local)?rule (\w+):$", done.stdout + done.stderr, re.MULTILINE))

    figures = {"change_figure", "distribution_figure", "comparison_figure"}
    of_cells, pages = {"table3", "evidence", "scorecard"}, {"report", "explorer", "walkthrough"}
    assert planned(seed=1) == {"cells", "injections", *of_cells, *pages, "all"} | figures
    assert planned(attribution={"top_k": 6}) == {"attribution", "attribution_figure", "table2", *pages, "all"}
    assert "model" not in planned(injection=[*GRIDS, {"encodings": ["embed"], "layers": [0]}])


def test_more_magnitudes_compute_only_their_cells(tiny_models: dict[str, Path], tmp_path: Path, snakemake: Run) -> None:
    target = "results/tiny/injections/tiny/pairs/curated.unembed.parquet"
    counts = []
    for n_magnitudes in (10, 15):
        study = tiny_study(tiny_models["llama"], injection={"magnitudes": list(range(1, n_magnitudes + 1))})
        done = snakemake(tmp_path, study, target)
        assert done.returncode == 0, done.stderr
        assert len(pd.read_parquet(tmp_path / target)) == 4 * 3 * n_magnitudes
        log = (tmp_path / "logs/tiny/cells/tiny/pairs/1-of-1.log").read_text()
        counts.append(re.findall(r"(\d+) known, (\d+) computed", log))
    assert counts == [[("0", "120")], [("120", "60")]]


def test_shards_make_the_same_tables(
    study_folder: Path, tiny_models: dict[str, Path], tmp_path: Path, snakemake: Run
) -> None:
    names = ("curated.unembed", "curated.layer", "nouns.unembed", "verbs.embed")
    targets = [f"results/tiny/injections/tiny/pairs/{name}.parquet" for name in names]
    done = snakemake(tmp_path, tiny_study(tiny_models["llama"], injection=GRIDS, shards={"tiny": 3}), *targets)
    assert done.returncode == 0, done.stderr
    parts = sorted((tmp_path / "results/tiny/cells/tiny/pairs").glob("*.parquet"))
    assert [part.stem for part in parts] == ["1-of-3", "2-of-3", "3-of-3"]
    assert [set(pd.read_parquet(part)["layer"]) for part in parts] == [{0}, {1}, {2}]
    for target in targets:
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / target), pd.read_parquet(study_folder / target))
    done = snakemake(tmp_path, tiny_study(tiny_models["llama"], shards=4), targets[0])
    assert done.returncode != 0
    assert "shards: 4 jobs cannot share out 3 layers; use 3 or less" in done.stdout + done.stderr


def test_every_rule_follows_its_code() -> None:
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        rules = re.split(r"^ *(?:rule|checkpoint) (?=\w+:)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for rule in rules[1:]:
            (script,) = re.findall(r'"\.\./scripts/(\w+)\.py"', rule)
            assert f'code=code_of("{script}")' in rule


def test_cores_are_shared_out_among_gpus(study_folder: Path, tiny_models: dict[str, Path], snakemake: Run) -> None:
    def threads(*arguments: str) -> list[str]:
        study = tiny_study(tiny_models["llama"], injection=GRIDS)
        done = snakemake(study_folder, study, "--dry-run", "--forcerun", "cells", "--cores", "8", *arguments)
        plan = done.stdout + done.stderr
        return re.findall(r"threads: (\d+)", plan[plan.index("rule cells:") :].split("\n\n")[0])

    assert threads() == ["8"]
    assert threads("--resources", "gpu=2") == ["4"]


def test_default_study_is_what_the_readme_says() -> None:
    study = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert study["datasets"]["pairs"]["rows"] >= 40
    assert study["injection"][0]["layers"] == "all"


def test_conda_environment_pins_what_the_package_pins() -> None:
    import tomllib

    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    conda = yaml.safe_load((ROOT / "workflow/envs/memory-injections.yaml").read_text())["dependencies"]
    assert conda[-1]["pip"] == [name for name in pinned if not name.startswith("pip")]
