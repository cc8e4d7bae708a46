"""Requests of bad will or by mistake: one clear answer each, nothing of this machine in it, nothing read or run."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi.testclient import TestClient
from service import LIMITS, start

from ruri_kedro.errors import RecipeError
from ruri_kedro.service.app import create_app
from ruri_kedro.service.limits import check_exposure, is_loopback
from ruri_kedro.service.serve import bound_socket

JSON = {"Content-Type": "application/json"}
LONG = "あ" * (LIMITS["chars"] + 1)
SEARCH, EMBEDDINGS, EMBED, RERANK = "/search", "/v1/embeddings", "/embed", "/rerank"

# (path, body as bytes, status)
BODIES = [
    # What is not JSON, or not an object.
    *((SEARCH, body, 422) for body in (b"", b"{", b"[]", b"1", b"null", b'"x"', b"true", b"NaN", b"{}{}", b"\x00")),
    *((SEARCH, body, (400, 422)) for body in (b"\xff\xfe{\x00}\x00", b'{"query": "\xff"}',
                                              b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"<xml/>", b"query=x")),
    (SEARCH, b'{"query": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", (400, 422)),
    (SEARCH, b"[" * 30_000, (400, 422)),
    (SEARCH, b'{"query": "x", "k": ' + b"9" * 5000 + b"}", (400, 422)),
    (SEARCH, b'{"query": "x", "k": 1e999}', (400, 422)),
    # Queries.
    *((SEARCH, json.dumps({"query": value}).encode(), 422)
      for value in ("", " ", "\u3000", "\u200b\u200d", "\x00", "\ufeff", 1, True, None, [], {}, ["x"], {"x": 1})),
    (SEARCH, json.dumps({"query": LONG}).encode(), 413),
    (SEARCH, rb'{"query": "\ud800"}', 422),
    (SEARCH, rb'{"query": "x\udfff"}', 422),
    (SEARCH, b"{}", 422),
    # Options.
    *((SEARCH, json.dumps({"query": "x", "k": value}).encode(), status)
      for value, status in ((0, 422), (-1, 422), (1.5, 422), ("10", 422), (True, 422), (LIMITS["results"] + 1, 413),
                            (10**30, (413, 422)), ([], 422))),
    *((SEARCH, json.dumps({"query": "x", "systems": value}).encode(), status)
      for value, status in (("bm25", 422), ([1], 422), (["../../etc/passwd"], 404), (["<script>"], 404),
                            ([None], 422))),
    *((SEARCH, json.dumps({"query": "x", "model": value}).encode(), status)
      for value, status in (("../../etc/passwd", 404), ("/etc/passwd", 404), ("models:/x/1", 404), ("a" * 1000, 422),
                            ("file:///etc/passwd", 404), ("http://127.0.0.1/", 404), (1, 422), ("x\x00y", 404),
                            ("${jndi:ldap://127.0.0.1}", 404), ("__import__('os')", 404))),
    (SEARCH, b'{"query": "x", "unknown": 1}', 422),
    (SEARCH, b'{"query": "x", "__class__": {}}', 422),
    (SEARCH, b'{"query": "x", "compare": "yes"}', 422),
    # Vectors.
    *((EMBEDDINGS, json.dumps({"input": value}).encode(), 400)
      for value in ("", [], [""], [1, 2], [[1]], None, 1, {"a": 1}, [None], ["x", 1]) if value != []),
    (EMBEDDINGS, b'{"input": []}', 422),
    (EMBEDDINGS, json.dumps({"input": ["x"] * (LIMITS["texts"] + 1)}).encode(), 413),
    (EMBEDDINGS, json.dumps({"input": ["x", LONG]}).encode(), 413),
    (EMBEDDINGS, b'{"input": "x", "dimensions": 7}', 400),
    (EMBEDDINGS, b'{"input": "x", "dimensions": -1}', 400),
    (EMBEDDINGS, b'{"input": "x", "encoding_format": "pickle"}', 400),
    (EMBEDDINGS, b'{"input": "x", "prompt_name": "secret"}', 422),
    (EMBEDDINGS, b'{"input": "x", "model": "gpt-4"}', 404),
    (EMBED, b'{"inputs": []}', 422),
    (EMBED, b'{"inputs": "x", "normalize": false}', 422),
    (EMBED, b'{"inputs": {"a": "b"}}', 422),
    (EMBED, b'{"inputs": "x", "prompt_name": "../x"}', 422),
    # Reranking.
    (RERANK, b'{"query": "x"}', 422),
    (RERANK, b'{"query": "x", "texts": []}', 422),
    (RERANK, b'{"query": "x", "texts": ["x"], "documents": ["x"]}', 422),
    (RERANK, b'{"query": " ", "texts": ["x"]}', 422),
    (RERANK, b'{"query": "x", "texts": [""]}', 422),
    (RERANK, b'{"query": "x", "texts": ["x"], "truncate": false}', 422),
    (RERANK, b'{"query": "x", "documents": ["x"], "top_n": 0}', 422),
    (RERANK, json.dumps({"query": "x", "texts": ["x"] * (LIMITS["texts"] + 1)}).encode(), 413),
    # Judgments and comparisons.
    ("/judgments", b'{"query": "x", "docid": "d0", "relevance": 2}', 422),
    ("/judgments", b'{"query": "x", "docid": "d0", "relevance": true}', 422),
    ("/judgments", b'{"query": "x", "docid": "../../d0", "relevance": 1}', 404),
    ("/judgments", b'{"query": "x", "docid": "d0\\nd1", "relevance": 1}', 404),
    ("/judgments", b'{"query": "x", "relevance": 1}', 422),
    ("/similarities", b'{"query": "x", "docid": "/etc/passwd", "model": "late"}', 404),
    ("/blind", b'{"query": ""}', 422),
    ("/blind/vote", b'{"id": "x", "choice": "left"}', 404),
    ("/blind/vote", b'{"id": "x", "choice": "none"}', 422),
]  # fmt: skip

# (method, path, status)
PATHS = [
    *(("GET", path, 404)
      for path in ("/etc/passwd", "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/page.js/../../app.py", "/static/",
                   "/%00", "/page.css%00.html", "/index.html", "//127.0.0.1/x", "/.env", "/.git/config", "/redoc",
                   "/admin", "/%E3%81%82", "/" + "a" * 5000, "/docs/oauth2-redirect")),
    *((method, "/search", 405) for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")),
    ("POST", "/", 405),
    ("POST", "/metrics", 405),
]  # fmt: skip

# (headers, status) of a search that is right but for these
HEADERS = [
    ({"Host": "evil.example"}, 421),
    ({"Host": "evil.example:8000"}, 421),
    ({"Host": "127.0.0.1.evil.example"}, 421),
    ({"Host": "localhost@evil.example"}, 421),
    ({"Host": "[::1"}, 421),
    ({"Host": "[::1]x"}, 421),
    ({"Host": ""}, 421),
    ({"Host": "localhost:x"}, 421),
    ({"Host": "169.254.169.254"}, 421),
    ({"Host": "LOCALHOST:99"}, 200),
    ({"Host": "[::1]:80"}, 200),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:1"}, 200),
    ({"Content-Type": "text/plain"}, 422),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 422),
    ({"Content-Type": "multipart/form-data; boundary=x"}, 422),
    ({"Content-Length": "99999999999"}, 413),
    ({"Content-Length": "-1"}, 413),
    ({"Content-Length": "1e3"}, 413),
    ({"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "1.2.3.4"}, 200),
    ({"Authorization": "Basic " + "A" * 5000}, 200),
    ({"Accept": "text/html,<script>"}, 200),
]


def check(answer, status, root):
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text[:300]
    assert len(answer.text) < 2000 or status == 200
    assert str(root) not in answer.text and "Traceback" not in answer.text and "/tests/" not in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status != 200:
        assert answer.headers["content-type"] == "application/json"
        error = answer.json()["error"]
        assert error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize("path, body, status", BODIES, ids=range(len(BODIES)))
def test_bodies(client, tmp_path, path, body, status):
    check(client.post(path, content=body, headers=JSON), status, tmp_path.parents[2])


@pytest.mark.parametrize("method, path, status", PATHS, ids=range(len(PATHS)))
def test_paths(client, tmp_path, method, path, status):
    check(client.request(method, f"http://testserver{path}"), status, tmp_path.parents[2])


@pytest.mark.parametrize("headers, status", HEADERS, ids=range(len(HEADERS)))
def test_headers(client, tmp_path, headers, status):
    body = json.dumps({"query": "駅", "systems": ["bm25"]})
    check(client.post("/search", content=body, headers=JSON | headers), status, tmp_path.parents[2])


def test_scripts_in_queries_and_documents_stay_text(client):
    for text in ("<script>alert(1)</script>", "'; DROP TABLE x; --", "{{7*7}}", "$(rm -rf /)", "\u202etxt.exe"):
        answer = client.post("/search", json={"query": text, "marks": True})
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"


def test_a_body_that_grows_beyond_its_limit_is_not_read_to_its_end(client):
    sent = []

    def chunks():
        for _ in range(1000):
            sent.append(1)
            yield b" " * 8192

    answer = client.post("/search", content=chunks(), headers=JSON)
    assert answer.status_code == 413


def test_an_error_within_the_service_names_nothing_of_this_machine(folders, tmp_path):
    service = start(tmp_path, folders / "embedder")

    def broken(queries, k):
        raise OSError(f"{tmp_path}/secret is gone")

    object.__setattr__(service.deployment, "bm25", broken)
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        answer = client.post("/search", json={"query": "駅"})
    assert answer.status_code == 500 and "secret" not in answer.text
    assert "internal error" in answer.json()["error"]["message"]


def test_rates_waiting_texts_and_time_are_limited(folders, tmp_path, monkeypatch):
    limits = LIMITS | {"rate": 0.5, "burst": 3, "waiting": 2, "timeout_s": 0.3}
    service = start(tmp_path, folders / "embedder", limits=limits)
    real = service.deployment.bm25
    object.__setattr__(service.deployment, "bm25", lambda queries, k: time.sleep(1) or real(queries, k))
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        assert client.post("/embed", json={"inputs": ["駅"] * 3}).status_code == 503
        assert client.post("/search", json={"query": "駅", "systems": ["bm25"]}).status_code == 504
        assert client.get("/healthz").status_code == 200
        refused = client.get("/healthz")
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1


def test_a_token_is_asked_for(folders, tmp_path):
    with TestClient(create_app(start(tmp_path, folders / "embedder"), "secret")) as client:
        for path in ("/", "/page.js", "/healthz", "/openapi.json"):
            assert client.get(path).status_code == 200
        for given in (None, "secret", "Bearer", "Bearer wrong", "Bearer secre", "bearer secret", "Bearer secret x"):
            headers = {"Authorization": given} if given else {}
            assert client.get("/metrics", headers=headers).status_code == 401
            assert client.post("/search", json={"query": "駅"}, headers=headers).status_code == 401
        assert client.get("/about", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_only_loopback_is_bound_without_a_token():
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.com", "192.168.0.1", "")))
    check_exposure("0.0.0.0", "token")
    with pytest.raises(RecipeError, match=r"service\.host: 0\.0\.0\.0 can be reached from elsewhere"):
        check_exposure("0.0.0.0", None)


@contextmanager
def served(service):
    """The service on a port of loopback, as the command runs it."""
    listening = bound_socket("127.0.0.1", 0)
    config = uvicorn.Config(create_app(service), http="h11", h11_max_incomplete_event_size=2**16, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


RAW = [
    (b"GET / HTTP/1.1\r\n\r\n", b"4"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", b"4"),
    (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b""),
    (b"NONSENSE\r\n\r\n", b"400"),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
    (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"4"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n bad: folded\r\n\r\n", b"4"),
    (
        b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"4",
    ),
    (b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", b"400"),
    (b"POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"4"),
]


def test_what_is_not_http(service):
    with served(service) as port:
        for sent, status in RAW:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(sent)
                answer = connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 " + status), (sent[:80], answer[:80])
        # And it still answers.
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
