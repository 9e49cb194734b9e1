"""A complete run of the workflow as a user starts it, and everything it makes."""

import json
import re
import zipfile
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np
import pandas as pd
import pytest
from checkout import Checkout
from conftest import WORDS, Run
from memory_injections.controls.kinds import CONTROLS
from memory_injections.sweeps.cell_plan import draw_word
from memory_injections.sweeps.cells import WHOLE_SCORES
from memory_injections.sweeps.identity import ID_COLUMNS, SweepId

MECHANISMS = {"patching", "patching_agreement", "direct_effects", "logit_lens", "side_effects"}


def test_second_run_does_nothing(finished: Checkout) -> None:
    assert "Nothing to be done" in finished.snakemake()


def test_cells(finished: Checkout) -> None:
    injections = finished.folder / "results/tiny/injections/llama/mine"
    curated = pd.read_parquet(injections / "curated.unembed.parquet")
    assert len(curated) == 4 * 3 * 2
    assert not curated.drop(columns=list(WHOLE_SCORES)).isna().any(axis=None)
    assert curated[list(WHOLE_SCORES)].isna().all(axis=None)
    assert {"prompt_id", "layer", "magnitude", "memory", "p_explicit", "p_obscure", "p_injected", "rank_obscure",
            "rank_injected"} <= set(curated)  # fmt: skip
    assert curated["p_injected"].between(0, 1).all()
    assert (curated.groupby("prompt_id")["p_obscure"].nunique() == 1).all()
    nouns = pd.read_parquet(injections / "nouns.unembed.parquet")
    words = pd.read_csv(WORDS)["nouns"].dropna().tolist()
    assert sorted(nouns["layer"].unique()) == [0, 2]
    for cell in nouns.itertuples():
        drawn = draw_word(words, 0, "nouns", cell.prompt_id, cell.layer, cell.magnitude)  # type: ignore[arg-type]
        assert cell.memory == drawn
    assert nouns["memory"].nunique() > 1


def test_attribution(finished: Checkout) -> None:
    folder = finished.folder / "results/tiny/attribution/llama"
    top = pd.read_parquet(folder / "mine.parquet")
    assert len(top) == 4 * 2 * 3 * 4 * 5
    assert list(top["rank"].unique()) == [0, 1, 2, 3, 4]
    targets = pd.read_parquet(finished.folder / "results/tiny/attribution-targets/llama/mine.parquet")
    assert len(targets) == 4 * 2 * 3 * 4 * 3
    keys = ["prompt_id", "prompt_kind", "layer", "head", "rank"]
    both = targets[targets["rank"] < 5].merge(top, on=keys)
    assert len(both) == (targets["rank"] < 5).sum() > 0
    assert (both["token_id_x"] == both["token_id_y"]).all()
    assert (both["logit_x"] == both["logit_y"]).all()


def test_tables(finished: Checkout) -> None:
    tables = {path.stem: pd.read_csv(path) for path in (finished.folder / "results/tiny/tables").glob("*.csv")}
    assert set(tables) == {
        "table1", "table2", "informative_heads", "informative_contrasts", "table3", "evidence", "contrasts",
        "breakdown", "shortcuts", "sites", "other_choices", "specificity", "outcomes", "by_outcome",
        "explicit_prompts", "claims", "headline", "headline_prompts", "scorecard", "controls", "control_contrasts",
        "positions", "doses", "both_hops", "text_check", "text_check_pairs",
        *MECHANISMS,
    }  # fmt: skip
    assert set(tables["contrasts"]["memories"]) == {"nouns"}
    assert len(tables["evidence"]) == 2 * (4 + 1)  # and the site chosen among all encodings
    hits = tables["sites"].query("dataset == 'mine' and memories == 'curated' and encoding == 'unembed'")
    assert (hits["n_missed"] + hits["n_hit"] == 4).all()
    assert tables["scorecard"]["authors"].isna().all()
    assert list(tables["table1"]["dataset"]) == ["mine", "mine", "web", "web"]
    assert list(tables["table1"]["n_prompts"]) == [4, 4, 3, 3]
    told = tables["informative_heads"]
    assert list(told.groupby("dataset")["n_prompts"].unique().map(list)) == [[4], [3]]
    assert len(tables["table2"]) <= told.query("prompt_kind == 'explicit'")["n_informative"].sum()
    table3 = tables["table3"].query("dataset == 'mine'")
    assert set(table3["memories"]) == {"curated", "nouns", "verbs"}
    curated = table3[table3["memories"] == "curated"]
    assert (curated["n_prompts"] == 4).all()
    cells = pd.read_parquet(finished.folder / "results/tiny/injections/llama/mine/curated.unembed.parquet")
    best = curated.query("encoding == 'unembed' and best_by == 'effect'").iloc[0]
    effects = np.log(cells["p_injected"].astype("float64") / cells["p_obscure"])
    means = effects.groupby([cells["layer"], cells["magnitude"]]).mean()
    assert best["effect"] == pytest.approx(means.max(), abs=1e-4)
    assert means.idxmax() == (best["layer"], best["magnitude"])


def test_controls(finished: Checkout) -> None:
    results = finished.folder / "results/tiny"
    tables = {name: pd.read_csv(results / "tables" / f"{name}.csv") for name in ("controls", "control_contrasts")}
    keys = ["model", "dataset", "encoding", "layer", "magnitude", "control"]
    assert not tables["controls"].duplicated(keys).any()
    named = tables["controls"].query("dataset == 'mine' and encoding == 'unembed'")
    assert set(named["control"]) == set(CONTROLS) - {"other_entity"}
    # The curated memories' own effects are those of the sweep.
    cells = pd.read_parquet(results / "injections/llama/mine/curated.unembed.parquet")
    means = (cells["logp_injected"] - cells["logp_obscure"]).groupby([cells["layer"], cells["magnitude"]]).mean()
    of_sites = named.drop_duplicates(["layer", "magnitude"]).set_index(["layer", "magnitude"])["curated_effect"]
    assert of_sites.to_dict() == pytest.approx(means.loc[of_sites.index].to_dict(), abs=1e-4)
    chosen = tables["control_contrasts"].query("dataset == 'mine' and encoding == 'unembed'").set_index("memories")
    evidence = pd.read_csv(results / "tables/evidence.csv").query("dataset == 'mine' and encoding == 'unembed'")
    effect = evidence.set_index("memories")["effect"]["curated"]
    assert chosen.loc["shuffled", "curated_effect"] == pytest.approx(effect, abs=1e-4)
    helps = pd.read_csv(results / "tables/claims.csv").query("dataset == 'mine' and claim.str.startswith('2.')")
    assert "the difference from other prompts' memories" in helps["evidence"].iloc[0]


def test_tables_of_causes(finished: Checkout) -> None:
    tables = {name: pd.read_csv(finished.folder / f"results/tiny/tables/{name}.csv") for name in MECHANISMS}
    agreement = tables["patching_agreement"].drop_duplicates(["dataset", "n_prompts", "n_positive"])
    assert (agreement["n_prompts"] <= agreement["n_positive"]).all()
    assert (agreement["gap"].isna() == (agreement["n_prompts"] == 0)).all()
    assert len(tables["patching"]) == sum(3 * 4 if n_prompts else 1 for n_prompts in agreement["n_prompts"])
    parts = tables["direct_effects"]
    controls = parts.query("control != 'curated'").groupby(["dataset", "encoding"])["control"].agg(set)
    assert all(found == {"shuffled", "random_direction", "curated minus shuffled"} for found in controls)
    assert set(parts["encoding"]) == {"unembed", "layer"}
    np.testing.assert_allclose(parts["direct"] + parts["indirect"], parts["effect"], atol=1e-6)
    site = parts.query("dataset == 'mine' and encoding == 'unembed'").iloc[0]
    cells = pd.read_parquet(finished.folder / "results/tiny/injections/llama/mine/curated.unembed.parquet")
    here = cells[(cells["layer"] == site["layer"]) & (cells["magnitude"] == site["magnitude"])]
    assert site["effect"] == pytest.approx((here["logp_injected"] - here["logp_obscure"]).mean(), abs=1e-5)
    blocks = tables["logit_lens"]
    assert (blocks.groupby(["dataset", "encoding", "control"])["block"].max() == 2).all()
    effects = tables["side_effects"].query("dataset == 'mine' and encoding == 'unembed'")
    assert list(effects.groupby("memories").size()) == [3, 3, 3]
    assert (effects["perplexity_clean"] > 1).all()


def test_figures_show_something(finished: Checkout) -> None:
    pngs = sorted((finished.folder / "results/tiny/figures").glob("*.png"))
    kinds = {path.name.split(".")[0] for path in pngs}
    of_study = {"breakdown", "controls", "doses", "patching", "direct_effects", "logit_lens", "frontier"}
    assert kinds == {"attribution", "change", "comparison", "distribution", "effect", *of_study}
    kinds_of_injection = ["curated.layer", "curated.unembed", "nouns.unembed", "verbs.embed"]
    assert {path.stem for path in pngs} == {
        f"{figure}.llama.{dataset}{of}"
        for dataset in ("mine", "web")
        for figure, subjects in {
            "attribution": [""],
            "change": [f".{kind}" for kind in kinds_of_injection],
            "comparison": [".unembed"],
            "distribution": [f".{kind}" for kind in kinds_of_injection],
            "effect": [f".{kind}" for kind in kinds_of_injection],
        }.items()
        for of in subjects
    } | {f"{figure}.study" for figure in of_study}
    for path in pngs:
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert matplotlib.image.imread(path)[..., :3].std() > 0.05


def test_report_stands_alone(finished: Checkout) -> None:
    page = (finished.folder / "results/tiny/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(list((finished.folder / "results/tiny/figures").glob("*.png")))
    beside = r"(?:tables|figures)/|explorer\.html|walkthrough\.html"  # files of the same study
    assert not re.findall(rf"(?:src|href)=\"(?!data:|#|https://arxiv\.org|{beside})", page)
    manifest = json.loads((finished.folder / "results/shared/models/llama/manifest.json").read_text())
    assert manifest["files"]["model.safetensors"] in page
    assert "attribution in float32, injections in float32" in page
    headings = re.findall(r'<h2 id="\w+">([^<]+)</h2>', page)
    assert headings == [
        "In short", "Data", "Attribution", "Evidence", "The paper's claims", "Injections", "Best sites",
        "Controls", "Mechanisms", "Side effects", "Scorecard", "Caveats", "Words",
        "How it was made",
    ]  # fmt: skip


def test_explorer_has_every_sweep(finished: Checkout) -> None:
    results = finished.folder / "results/tiny"
    page = (results / "explorer.html").read_text(encoding="utf-8")
    index = json.loads(re.findall(r'id="index">(.*?)</script>', page)[0])
    shown = {SweepId(*(sweep[name] for name in ID_COLUMNS)) for sweep in index["sweeps"] if sweep["has_cells"]}
    files = (results / "injections").rglob("*.parquet")
    assert {sweep.path for sweep in shown} == {
        path.relative_to(results / "injections").with_suffix("").as_posix() for path in files
    }
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|report\.html)", page)
    for dataset in ("mine", "web"):
        assert f'id="heads-llama/{dataset}"' in page
        assert f'id="pairs-{dataset}"' in page


def test_walkthrough_has_run(finished: Checkout) -> None:
    """Every cell of the notebook ran; the page has figures and numbers, and loads nothing from elsewhere."""
    notebook = nbformat.read(finished.folder / "results/tiny/walkthrough.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 6
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    # It runs again where it lies, also after the whole study has been moved.
    used = re.findall(r'= "(.+)"', next(c.source for c in code if "injected-parameters" in c.metadata.tags))
    assert len(used) == 4
    assert all((finished.folder / "results/tiny" / path).exists() for path in used)
    said = " ".join(output["data"]["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {}))
    assert "The model has 3 layers of 4 heads" in said
    cells = pd.read_parquet(finished.folder / "results/tiny/injections/llama/mine/curated.unembed.parquet")
    widest = np.log(cells["p_explicit"] / cells["p_obscure"]).idxmax()
    assert f"**{cells['p_obscure'][widest]:.6f}** after the obscure one" in said
    page = (finished.folder / "results/tiny/walkthrough.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 6
    assert "Memory injections, step by step" in page
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?!data:|")', page)


def test_snakemake_report(finished: Checkout) -> None:
    finished.snakemake("--report", "report.zip")
    with zipfile.ZipFile(finished.folder / "report.zip") as report:
        figures = [name for name in report.namelist() if name.endswith(".png")]
    assert len(figures) == len(list((finished.folder / "results/tiny/figures").glob("*.png")))


def test_cores_are_shared_out_among_gpus(finished: Checkout) -> None:
    def threads(*arguments: str) -> list[str]:
        plan = finished.snakemake("--dry-run", "--forcerun", "inject", "--cores", "8", *arguments)
        return re.findall(r"threads: (\d+)", plan[plan.index("rule inject:") :].split("\n\n")[0])

    assert threads() == ["8"]
    assert threads("--resources", "gpu=2") == ["4"]


def test_more_magnitudes_compute_only_their_cells(finished: Checkout, tmp_path: Path, snakemake: Run) -> None:
    finished.lend_models(tmp_path)
    target = "results/tiny/injections/llama/mine/curated.unembed.parquet"
    counts = []
    for n_magnitudes in (10, 15):
        done = snakemake(
            tmp_path, finished.config | {"injection": {"magnitudes": [*range(1, n_magnitudes + 1)]}}, target
        )
        assert done.returncode == 0, done.stderr
        assert len(pd.read_parquet(tmp_path / target)) == 4 * 3 * n_magnitudes
        log = (tmp_path / "logs/tiny/cells/llama/mine/1-of-1.log").read_text()
        counts.append(re.findall(r"(\d+) known, (\d+) computed", log))
    assert counts == [[("0", "120")], [("120", "60")]]


def test_shards_make_the_same_tables(finished: Checkout, tmp_path: Path, snakemake: Run) -> None:
    finished.lend_models(tmp_path)
    names = ("curated.unembed", "curated.layer", "nouns.unembed", "verbs.embed")
    targets = [f"results/tiny/injections/llama/mine/{name}.parquet" for name in names]
    done = snakemake(tmp_path, finished.config | {"shards": {"llama": 3}}, *targets)
    assert done.returncode == 0, done.stderr
    parts = sorted((tmp_path / "results/tiny/cells/llama/mine").glob("*.parquet"))
    assert [part.stem for part in parts] == ["1-of-3", "2-of-3", "3-of-3"]
    assert [set(pd.read_parquet(part)["layer"]) for part in parts] == [{0}, {1}, {2}]
    for target in targets:
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / target), pd.read_parquet(finished.folder / target))
    done = snakemake(tmp_path, finished.config | {"shards": 4}, targets[0])
    assert done.returncode != 0
    assert "config key shards: 4 jobs cannot share out 3 layers; use 3 or less" in done.stdout + done.stderr
