"""A stand-in for the Hugging Face hub: it knows one token, takes repositories and commits, and keeps what was sent."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_stand_in"


class Hub:
    """What was sent: repositories that were made, and the files of commits by repository."""

    def __init__(self) -> None:
        self.address = ""
        self.made: list[dict] = []
        self.files: dict[str, dict[str, bytes]] = {}

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, dict]:
        """Status and JSON for a request."""
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/whoami-v2":
            return 200, {"name": "team", "type": "user", "orgs": [], "auth": {"type": "access_token"}}
        if path == "/api/repos/create":
            self.made.append(made := json.loads(body))
            kind = "" if made["type"] == "model" else f"{made['type']}s/"
            return 200, {"url": f"{self.address}/{kind}{made['organization']}/{made['name']}"}
        if path.endswith("/preupload/main"):
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for f in json.loads(body)["files"]]  # fmt: skip
            return 200, {"files": files}
        if "/commit/" in path:
            repo = path.split("/commit/")[0].removeprefix("/api/")
            lines = [json.loads(line) for line in body.decode().splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            self.files.setdefault(repo, {}).update({f["path"]: base64.b64decode(f["content"]) for f in sent})
            return 200, {"commitUrl": f"{self.address}/{repo}/commit/1", "commitOid": "1" * 40, "success": True}
        return 200, {"sha": "0" * 40, "errors": [], "warnings": []}


@contextmanager
def hub_server():
    """A Hub that listens on loopback."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            status, found = hub.answer(self.command, path, self.headers.get("Authorization", ""), body)
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_HEAD = _respond

        def log_message(self, *arguments) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
