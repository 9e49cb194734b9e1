"""A small server on loopback that behaves like the Hugging Face hub, or like a broken network."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
from conftest import PAIRS
from field_tables import MQUAKE, TWO_HOP_FACT, write_table

MODEL, DATA, FACTS = "models/someone/tiny", "datasets/someone/pairs", "datasets/someone/facts"
COMMIT, NEXT_COMMIT = "c0ffee" + 34 * "0", "decade" + 34 * "0"
LICENSED = "hf_licensed"
ALWAYS = 10**6
# How a repository's page names configurations and splits.
SPLITS = """---
configs:
- config_name: parquet
  data_files:
  - {split: test, path: test.parquet}
---
"""


@dataclass
class Fault:
    """A failure of the next `times` requests whose method and path contain `part`.

    With a `status`, it is a response with that status; without one, the connection breaks in the middle of the file.
    """

    part: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Hub(ThreadingHTTPServer):
    """Serves `repos` ("models/owner/name" or "datasets/owner/name" -> folder) and the plain files in `files`.

    `main` is the newest commit in `commits`. Files of the repositories in `gated` need the token `LICENSED`. A file
    named in `altered` is sent so many times with another last byte than its hash is of.
    """

    def __init__(self, repos: dict[str, Path], files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos, self.files = repos, files
        self.reset()

    def reset(self) -> None:
        """Begin anew: one commit of every repository, no faults, and no requests so far."""
        self.commits = {name: {COMMIT: folder} for name, folder in self.repos.items()}
        self.gated: set[str] = set()
        self.faults: list[Fault] = []
        self.altered: dict[str, int] = {}
        self.blobs: dict[str, Path] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def cdn(self) -> str:
        """The server's address under another host name, which must not see tokens."""
        return f"http://localhost:{self.server_port}"

    def describe_client(self, home: Path) -> dict[str, str]:
        """Return the environment variables of a client of this hub without a token, and with its cache in `home`."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}

    def fault(self, request: str) -> Fault | None:
        """The failure for this request, if any."""
        for fault in self.faults:
            if fault.part in request and fault.times > 0:
                fault.times -= 1
                return fault
        return None


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Metadata of a repository, a file of it, a large file on the CDN, or a plain file."""
        path = unquote(urlsplit(self.path).path).strip("/")
        request = f"{self.command} {path}"
        self.server.requests.append(f"{request} {self.headers.get('Range', '')}".strip())
        fault = self.server.fault(request)
        self.cut = fault is not None and fault.status is None
        if fault and fault.status:
            self._send(fault.status, b"{}", fault.headers)
        elif path in self.server.files:
            # A "truncated" file announces more bytes than it sends.
            self.cut = path.startswith("truncated")
            self._send(200, self.server.files[path])
        elif api := re.fullmatch(r"api/(\w+/[^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/(.+))?)?", path):
            self._send_metadata(api[1], api[2] or "revision", api[3] or "main", api[4] or ".")
        elif file := re.fullmatch(r"(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._send_file(f"{file[1] or 'models/'}{file[2]}", file[3], file[4])
        elif path.startswith("cdn/"):
            # A CDN refuses requests with a token, as signed URLs do.
            signed = "Authorization" not in self.headers
            self._send_blob(self.server.blobs[path.removeprefix("cdn/")]) if signed else self._send(400)
        else:
            self._send(404)

    do_HEAD = do_GET

    def _resolve(self, name: str, revision: str) -> tuple[str, Path] | None:
        """Commit and folder of a revision; sends an error if there is none."""
        if name not in self.server.commits:
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        commits = self.server.commits[name]
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return None
        return commit, commits[commit]

    def _send_metadata(self, name: str, what: str, revision: str, below: str) -> None:
        if found := self._resolve(name, revision):
            commit, folder = found
            tree = [_entry(path, folder) for path in sorted((folder / below).rglob("*")) if path.is_file()]
            siblings = [{"rfilename": entry["path"]} for entry in tree]
            about = {"id": name.split("/", 1)[1], "sha": commit, "private": False, "tags": [], "siblings": siblings}
            answer = tree if what == "tree" else about
            self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send_file(self, name: str, revision: str, file: str) -> None:
        if not (found := self._resolve(name, revision)):
            return
        commit, path = found[0], found[1] / file
        token = self.headers.get("Authorization")
        if name in self.server.gated and token != f"Bearer {LICENSED}":
            self._send(403 if token else 401, b"{}", {"X-Error-Code": "GatedRepo"})
        elif not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        elif large := _entry(path, found[1]).get("lfs"):
            self.server.blobs[large["oid"]] = path
            linked = {"X-Linked-Etag": f'"{large["oid"]}"', "X-Linked-Size": str(large["size"])}
            self._send(
                302, b"", {"Location": f"{self.server.cdn}/cdn/{large['oid']}", "X-Repo-Commit": commit} | linked
            )
        else:
            self._send_blob(path, {"X-Repo-Commit": commit})

    def _send_blob(self, path: Path, headers: dict[str, str] | None = None) -> None:
        """Send a file, or the part of it that the client asks for."""
        body = path.read_bytes()
        headers = {"ETag": f'"{_name_blob(body)}"', "Accept-Ranges": "bytes"} | (headers or {})
        if self.command == "GET" and self.server.altered.get(path.name, 0) > 0:
            self.server.altered[path.name] -= 1
            body = body[:-1] + b"?"
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(part[1]), min(int(part[2] or len(body)), len(body) - 1)
            self._send(206, body[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(body)}"})
        else:
            self._send(200, body, headers)

    def _send(self, status: int, body: bytes = b"{}", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.cut else body)
            self.close_connection = self.cut

    def log_message(self, format: str, *args: object) -> None:
        """Suppress the log."""


def _name_blob(body: bytes) -> str:
    """The name that git gives a file's contents."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _entry(path: Path, folder: Path) -> dict[str, Any]:
    """A file in the listing of a repository; weights are large files."""
    body = path.read_bytes()
    entry: dict[str, Any] = {"type": "file", "path": path.relative_to(folder).as_posix(), "size": len(body)}
    entry["oid"] = _name_blob(body)
    if path.suffix in (".safetensors", ".bin"):
        entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
    return entry


@dataclass(frozen=True)
class HubUser:
    """A hub, the folder with a user's cache of it, and the user's Python with the environment that it expects."""

    hub: Hub
    home: Path
    python: Path
    environment: dict[str, str]


@contextmanager
def serve(repos: dict[str, Path] | None = None, files: dict[str, bytes] | None = None) -> Iterator[Hub]:
    """Run a hub for the duration of the `with` block."""
    with Hub(repos or {}, files or {}) as hub:
        Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        yield hub
        hub.shutdown()


def make_repos(folder: Path, model: Path) -> dict[str, Path]:
    """Make a repository of a model in the formats of two frameworks, and two of data, with splits of Parquet files."""
    shutil.copytree(model, folder / "model")
    (folder / "model" / "onnx").mkdir()
    (folder / "model" / "onnx" / "config.json").write_text("{}")
    (folder / "model" / "pytorch_model.bin").write_bytes(b"not needed")
    (folder / "data").mkdir()
    pd.read_csv(PAIRS).assign(answer="007").to_csv(folder / "data" / "pairs.csv", index=False)
    (folder / "data" / "binary.csv").write_bytes(b"\xff\xfe\x00,\n")
    (folder / "data" / "README.md").write_text(SPLITS, encoding="utf-8")
    split = pd.read_csv(PAIRS).rename(columns={"memory": "entity_name"})
    split.tail(5).to_parquet(folder / "data" / "test.parquet", index=False)
    write_table(MQUAKE, folder / "data" / "mquake.json")
    (folder / "facts" / "data").mkdir(parents=True)
    for split, facts in (("train", TWO_HOP_FACT), ("test", TWO_HOP_FACT[:1])):
        write_table(facts, folder / "facts" / "data" / f"{split}-00000-of-00001.parquet")
    return {MODEL: folder / "model", DATA: folder / "data", FACTS: folder / "facts"}


def describe_folder(folder: Path) -> dict[str, Any]:
    """Describe all that is below a folder: modes, sizes, times of modification, links and contents."""
    found: dict[str, Any] = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


def assert_same_model(folder: Path, origin: Path) -> None:
    """A folder named after its commit holds the model of another."""
    assert folder.name in (COMMIT, NEXT_COMMIT)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (origin / name).read_bytes()
