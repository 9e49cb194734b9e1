"""Results in a storage that is no file system of the jobs: the same tables as in a folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, tiny_study

TARGETS = [
    f"results/tiny/{name}"
    for name in ("tables/evidence.csv", "tables/table2.csv", "tables/controls.csv", "tables/side_effects.csv")
]
FIGURE = "results/tiny/figures/effect.tiny.pairs.curated.unembed.png"


@pytest.fixture(scope="module")
def study(tiny_models: dict[str, Path]) -> dict[str, object]:
    mechanisms = {"prompts": 1, "texts": 1, "factors": [1.0]}
    return tiny_study(tiny_models["llama"], controls={"kinds": ["shuffled"], "draws": 1}, mechanisms=mechanisms)


@pytest.fixture(scope="module")
def here(study: dict[str, object], snakemake: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's results in a folder."""
    folder = tmp_path_factory.mktemp("here")
    done = snakemake(folder, study, *TARGETS)
    assert done.returncode == 0, done.stderr
    return folder


S3_KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


def run_with_storage(snakemake: Run, study: dict[str, object], folder: Path, *options: str) -> None:
    """Run the study with a storage for its results; a second run finds them there."""
    options = ("--shared-fs-usage", "none", "--local-storage-prefix", str(folder / "local"), *options)
    done = snakemake(folder, study, *TARGETS, FIGURE, *options)
    assert done.returncode == 0, done.stderr
    again = snakemake(folder, study, *TARGETS, FIGURE, *options)
    assert "Nothing to be done" in again.stdout + again.stderr
    # Nothing is left in the folder but the store of cells, which a machine keeps for itself, and the checksum cache.
    assert {path.name for path in (folder / "results").glob("*/*")} <= {
        "cells",
        "checksum_cache.json",
        ".checksum_cache.json.xxh3",
    }


@pytest.mark.skipif(shutil.which("rsync") is None, reason="Snakemake's storage plugin `fs` needs rsync")
def test_a_folder_that_the_jobs_do_not_share(
    study: dict[str, object], here: Path, snakemake: Run, tmp_path: Path
) -> None:
    storage = ("--default-storage-provider", "fs", "--default-storage-prefix", str(tmp_path / "storage"))
    (tmp_path / "run").mkdir()
    run_with_storage(snakemake, study, tmp_path / "run", *storage)
    for target in TARGETS:
        assert (tmp_path / "storage" / target).read_bytes() == (here / target).read_bytes()
    assert (tmp_path / "storage" / FIGURE).is_file()


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of a local S3 server with a bucket `study`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **S3_KEYS).create_bucket(Bucket="study")
    yield url
    server.stop()


def test_s3(study: dict[str, object], here: Path, snakemake: Run, s3: str, tmp_path: Path) -> None:
    import boto3

    storage = ("--default-storage-provider", "s3", "--default-storage-prefix", "s3://study")
    account = ("--storage-s3-access-key", "key", "--storage-s3-secret-key", "secret")
    run_with_storage(snakemake, study, tmp_path, *storage, "--storage-s3-endpoint-url", s3, *account)
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", **S3_KEYS)
    for target in TARGETS:
        assert client.get_object(Bucket="study", Key=target)["Body"].read() == (here / target).read_bytes()
    assert client.head_object(Bucket="study", Key=FIGURE)["ContentLength"] > 0
