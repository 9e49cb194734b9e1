"""A small server on loopback that answers as the Hugging Face hub does, and as a broken network does."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + 34 * "0"


class Hub(ThreadingHTTPServer):
    """Serves `repos` ("models/owner/name" or "datasets/owner/name" -> folder) and plain files of `files`."""

    def __init__(self, repos: dict[str, Path], files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos, self.files = repos, files
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Metadata of a repository, a file of it, or a plain file."""
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.requests.append(f"{self.command} {self.path}")
        if path in self.server.files:
            body = self.server.files[path]
            # A "truncated" file promises more than it gives.
            self._send(200, body, length=len(body) + 100 * path.startswith("truncated"))
            return
        for name, folder in self.server.repos.items():
            kind, repo = name.split("/", 1)
            prefix = f"{repo}/resolve/" if kind == "models" else f"{name}/resolve/"
            if path.startswith(f"api/{name}"):
                self._send_json(self._metadata(repo, folder, path.removeprefix(f"api/{name}").strip("/")))
                return
            if path.startswith(prefix):
                self._send_file(folder / path.removeprefix(prefix).split("/", 1)[1])
                return
        self._send(401 if path.startswith("api/") else 404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """`paths-info`: which of the asked paths are files."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.requests.append(f"POST {self.path}")
        for name, folder in self.server.repos.items():
            if path.startswith(f"api/{name}/paths-info"):
                self._send_json([entry for entry in self._tree(folder) if entry["path"] in unquote(body)])
                return
        self._send(404, b"{}")

    def _metadata(self, repo: str, folder: Path, rest: str) -> object:
        if rest.startswith("tree"):
            return self._tree(folder)
        siblings = [{"rfilename": entry["path"]} for entry in self._tree(folder)]
        return {"id": repo, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": siblings}

    def _tree(self, folder: Path) -> list[dict[str, Any]]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in files
        ]

    def _send_json(self, answer: object) -> None:
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send_file(self, path: Path) -> None:
        if not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        body = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self._send(200, body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if length not in (None, len(body)):
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve(repos: dict[str, Path] | None = None, files: dict[str, bytes] | None = None) -> Iterator[Hub]:
    """A hub that runs while the block does."""
    with Hub(repos or {}, files or {}) as hub:
        Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()
