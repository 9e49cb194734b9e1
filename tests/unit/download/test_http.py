"""Downloads from URLs, with the real client against a server on loopback."""

import hashlib
from pathlib import Path

import pytest
from conftest import PAIRS
from hub import ALWAYS, Fault, serve
from memory_injections.download.http import download_url
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
@pytest.mark.usefixtures("slept")
def test_url_that_fails_leaves_nothing(tmp_path: Path, name: str, sha256: str, sentence: str) -> None:
    with serve(files={"pairs.csv": CSV, "truncated.csv": CSV}) as hub, pytest.raises(StudyError, match=sentence):
        download_url(f"{hub.url}/{name}", sha256, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("slept")
def test_url_without_network(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot download http://127.0.0.1:9/a.csv .*check the address and the netw"):
        download_url("http://127.0.0.1:9/a.csv", CSV_SHA256, tmp_path)


@pytest.mark.usefixtures("slept")
def test_a_file_that_is_too_large_and_a_redirect_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory_injections.download.http.LARGEST_GIB", 1e-9)
    with serve(files={"pairs.csv": CSV}) as hub:
        with pytest.raises(StudyError, match=r"pairs.csv is larger than 1e-09 GiB; check the address"):
            download_url(f"{hub.url}/pairs.csv", CSV_SHA256, tmp_path)
        hub.faults = [Fault("loop.csv", ALWAYS, 302, {"Location": f"{hub.url}/loop.csv"})]
        with pytest.raises(StudyError, match=r"cannot download .*/loop.csv \(Exceeded 5 redirects"):
            download_url(f"{hub.url}/loop.csv", CSV_SHA256, tmp_path)
    assert list(tmp_path.iterdir()) == []
