"""The workflow with models and prompts from each source that a config can name."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import PAIRS, Run, tiny_study
from hub import COMMIT, MODEL, make_repos, serve
from memory_injections.data.prompt_pairs import normalise_pairs, read_pairs, strip_pairs
from memory_injections.data.two_wiki import list_pairs, sample_pairs
from two_wiki_files import RECORDS, make_record, write_records


def test_records_of_2wikimultihop(tmp_path: Path, snakemake: Run) -> None:
    lines, _ = write_records(tmp_path, "jsonl")
    archive, member = write_records(tmp_path, "zip")
    content = archive.read_bytes()
    with serve(files={"data.zip": content}) as hub:
        url = {"url": f"{hub.url}/data.zip?dl=1", "sha256": hashlib.sha256(content).hexdigest(), "member": member}
        study = tiny_study(
            Path("unused"),
            models={"tiny": {"source": "huggingface", "repo": "someone/tiny"}},
            datasets={
                "small": {"source": "2wikimultihop", "path": lines.name, "size": 5, "seed": 3},
                "large": {"source": "2wikimultihop", "size": 9, "seed": 3} | url,
            },
        )
        targets = {name: f"results/shared/datasets/{name}.csv" for name in ("small", "large")}
        done = snakemake(tmp_path, study, *targets.values())
        assert done.returncode == 0, done.stderr
        small, large = (read_pairs(tmp_path / target) for target in targets.values())
        drawn = strip_pairs(normalise_pairs(sample_pairs(list_pairs(RECORDS, "x"), 9, 3, "x"), "x"), "x")
        pd.testing.assert_frame_equal(large, drawn.assign(dataset="large")[list(large)])
        assert small.drop(columns="dataset").equals(large.drop(columns="dataset").head(5))
        assert set(small["dataset"]) == {"small"}

        lines.write_text(json.dumps(make_record("Rejs")), encoding="utf-8")
        again = snakemake(tmp_path, study, *targets.values())
    assert again.returncode != 0
    assert f"file {lines.name} gives 1 prompt pairs, but the config asks for 5; lower `size`" in again.stderr


def test_workflow_fetches_what_the_hub_does_not_refuse(
    tmp_path: Path, tiny_models: dict[str, Path], snakemake: Run
) -> None:
    repos = make_repos(tmp_path / "hub", tiny_models["gpt2"])
    study = tiny_study(
        Path("unused"),
        models={
            "tiny": {"source": "huggingface", "repo": "someone/tiny"},
            "licensed": {"source": "huggingface", "repo": "someone/licensed"},
        },
        datasets={"pairs": {"source": "huggingface", "repo": "someone/pairs", "file": "pairs.csv", "rows": 4}},
    )
    models, table = "results/shared/models", "results/shared/datasets/pairs.csv"
    tiny, licensed = f"{models}/tiny/manifest.json", f"{models}/licensed/manifest.json"
    with serve({**repos, "models/someone/licensed": repos[MODEL]}) as hub:
        hub.gated = {"models/someone/licensed"}
        environment = hub.describe_client(tmp_path / "home")
        done = snakemake(tmp_path, study, "--keep-going", tiny, licensed, table, **environment)
        asked = len(hub.requests)
        again = snakemake(tmp_path, study, tiny, table, **environment)
        assert len(hub.requests) == asked
    assert done.returncode != 0
    refused = done.stderr.index("Hugging Face repository someone/licensed is gated; accept its licence")
    assert refused < done.stderr.index("rule model:")
    assert refused < done.stderr.index("rule unpinned_pairs:")
    assert not (tmp_path / licensed).exists()
    assert "Nothing to be done" in again.stderr
    manifest = json.loads((tmp_path / tiny).read_text())
    assert manifest["revision"] == COMMIT
    assert "model.safetensors" in manifest["files"]
    assert "pytorch_model.bin" not in manifest["files"]
    pairs = pd.read_csv(tmp_path / table, dtype=str)
    assert list(pairs["memory"]) == list(pd.read_csv(PAIRS)["memory"].head(4))
    assert set(pairs["answer"]) == {"007"}


@pytest.mark.parametrize("file", ["pairs.csv", "truncated.csv"])
def test_wrong_checksum_and_truncated_download(file: str, tmp_path: Path, snakemake: Run) -> None:
    table = "results/shared/datasets/pairs.csv"
    with serve(files={file: PAIRS.read_bytes()}) as hub:
        source = {"source": "url", "url": f"{hub.url}/{file}", "sha256": 64 * "0"}
        models = {"tiny": {"source": "huggingface", "repo": "someone/tiny"}}
        done = snakemake(tmp_path, tiny_study(Path("unused"), models=models, datasets={"pairs": source}), table)
    assert done.returncode != 0
    problem = "but the config says 0000" if file == "pairs.csv" else "in 3 attempts; check the address"
    assert problem in done.stderr
    assert not list((tmp_path / "results").rglob("*.csv"))
