"""A stand-in for the Hugging Face hub that is read from: models and data sets in folders, at the commits of branches.

It answers what huggingface_hub and datasets ask for: facts, lists of files, and files, also in part.
"""

import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_API = re.compile(r"/api/(models|datasets)/(.+?)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?$")
_FILE = re.compile(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)$")
_REFUSALS = {401: "RepoNotFound", 403: "GatedRepo", 404: "RepoNotFound"}


def commit_of(id_: str, ref: str = "main") -> str:
    """The commit that a branch of a repository is at."""
    return hashlib.sha1(f"{id_}@{ref}".encode()).hexdigest()


@dataclass
class HubRepositories:
    """Folders by (models or datasets, id); what else a repository's facts hold, and with which status it refuses."""

    address: str = ""
    folders: dict[tuple[str, str], Path] = field(default_factory=dict)
    refs: dict[str, list[str]] = field(default_factory=dict)  # beside main
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)  # facts and files
    gated: set[str] = field(default_factory=set)  # files only
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    raw: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)  # in place of facts: body, headers

    def use(self, monkeypatch: Any, home: Path) -> None:
        """Let this process, whose libraries may be imported already, take it for the hub."""
        import datasets.config
        from huggingface_hub import constants

        files = self.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", self.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", self.address)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
        monkeypatch.setenv("HF_ENDPOINT", self.address)
        monkeypatch.setenv("HF_TOKEN", "hf_notToBeSeenAnywhere")

    def add(self, folder: Path, kind: str = "datasets") -> None:
        """Every <owner>/<name> below a folder."""
        for path in sorted(folder.glob("*/*")):
            self.folders[kind, path.relative_to(folder).as_posix()] = path

    def commit(self, id_: str, revision: str) -> str | None:
        """The commit of a branch; what looks like a commit is one of its history, with the same files."""
        branches = ["main", *self.refs.get(id_, [])]
        return commit_of(id_, revision) if revision in branches else (revision if len(revision) == 40 else None)

    def info(self, kind: str, id_: str, commit: str) -> dict[str, Any]:
        files = [{"rfilename": path, "size": file.stat().st_size} for path, file in self.files(kind, id_)]
        facts = {"id": id_, "sha": commit, "siblings": files, "private": False, "gated": id_ in self.gated, "tags": []}
        return facts | {"downloads": 0, "likes": 0} | self.facts.get(id_, {})

    def files(self, kind: str, id_: str) -> list[tuple[str, Path]]:
        root = self.folders[kind, id_]
        return sorted((file.relative_to(root).as_posix(), file) for file in root.rglob("*") if file.is_file())

    def tree(self, kind: str, id_: str, below: str, recursive: bool) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path, file in self.files(kind, id_):
            if below and not path.startswith(f"{below}/"):
                continue
            parts = path.removeprefix(f"{below}/" if below else "").split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(([below] if below else []) + parts[:depth])
                if recursive or depth == 1:
                    found[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
            if recursive or len(parts) == 1:
                found[path] = _entry(path, file)
        return list(found.values())


def _entry(path: str, file: Path) -> dict[str, Any]:
    oid = hashlib.sha1(file.read_bytes()).hexdigest()
    return {"type": "file", "path": path, "size": file.stat().st_size, "oid": oid}


@contextmanager
def hub_repositories() -> Iterator[HubRepositories]:
    """A hub that listens on loopback."""
    hub = HubRepositories()

    class Handler(_Handler):
        repositories = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    repositories: HubRepositories
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._respond()

    do_HEAD = do_POST = do_GET

    def _respond(self) -> None:
        hub = self.repositories
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        hub.asked.append(self.path)
        if token := self.headers.get("Authorization"):
            hub.tokens.add(token)
        if found := _API.match(path):
            self._api(*found.groups(), query, body)
        elif found := _FILE.match(path):
            self._file(*found.groups())
        else:
            self._say(404, {"error": "no such page"})

    def _api(self, kind, id_, what, revision, below, query, body) -> None:
        hub, id_ = self.repositories, urllib.parse.unquote(id_)
        if status := hub.refused.get(id_) or (404 if (kind, id_) not in hub.folders else None):
            return self._refuse(status)
        if id_ in hub.raw and what in (None, "revision"):
            return self._send(200, *hub.raw[id_])
        commit = hub.commit(id_, urllib.parse.unquote(revision or "main"))
        if commit is None:
            return self._say(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        if what == "tree":
            wanted = urllib.parse.unquote(below or "")
            entries = hub.tree(kind, id_, wanted, "recursive=true" in query.lower())
            return self._say(200, entries) if entries or not wanted else self._entry_missing()
        if what == "paths-info":
            form = urllib.parse.parse_qs(body.decode())
            paths = form.get("paths") or json.loads(body).get("paths", [])
            known = {row["path"]: row for row in hub.tree(kind, id_, "", True)}
            return self._say(200, [known[path] for path in paths if path in known])
        return self._say(200, hub.info(kind, id_, commit))

    def _file(self, datasets, id_, revision, path) -> None:
        hub, kind = self.repositories, "datasets" if datasets else "models"
        id_, path = urllib.parse.unquote(id_), urllib.parse.unquote(path)
        if (kind, id_) not in hub.folders or (commit := hub.commit(id_, urllib.parse.unquote(revision))) is None:
            return self._refuse(404)
        if status := hub.refused.get(id_) or (403 if id_ in hub.gated else None):
            return self._refuse(status)
        file = dict(hub.files(kind, id_)).get(path)
        if file is None:
            return self._entry_missing()
        data, status, headers = file.read_bytes(), 200, {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        headers["ETag"] = f'"{hashlib.sha1(data).hexdigest()}"'
        if wanted := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data[start : end + 1], 206
        return self._send(status, data, headers)

    def _entry_missing(self) -> None:
        self._say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    def _refuse(self, status: int) -> None:
        code = {"X-Error-Code": _REFUSALS[status]} if status in _REFUSALS else {}
        self._say(status, {"error": f"refused: {self.headers.get('Authorization')} \x1b[31m"}, code)

    def _say(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Silent."""
