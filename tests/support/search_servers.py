"""Stand-ins for engines behind HTTP: they take what the engines' references describe, and refuse anything else."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import numpy as np

_ANALYSIS = {  # names of the plug-ins analysis-kuromoji, analysis-sudachi, and what is built in
    "tokenizers": {"kuromoji_tokenizer": {"mode"}, "sudachi_tokenizer": {"split_mode", "discard_punctuation"}},
    "filters": {"kuromoji_baseform", "kuromoji_part_of_speech", "kuromoji_stemmer", "ja_stop", "cjk_width",
                "lowercase", "sudachi_part_of_speech", "sudachi_ja_stop", "sudachi_normalizedform"},
}  # fmt: skip


class Refused(Exception):
    """A request that the engine would refuse."""


class Bulk:
    """An index of OpenSearch or Elasticsearch."""

    def __init__(self, kind: str) -> None:
        self.kind, self.indices, self.documents, self.requests = kind, {}, {}, []

    def answer(self, method, path, body, content_type):
        """Status and JSON of a request."""
        name, _, verb = path.strip("/").partition("/")
        self.requests.append((method, path))
        if method == "HEAD":
            return (200 if name in self.indices else 404), None
        if (method, verb) == ("PUT", ""):
            self._make(name, json.loads(body))
            return 200, {"acknowledged": True}
        if (method, verb) == ("POST", "_bulk"):
            if content_type != "application/x-ndjson" or not body.endswith(b"\n"):
                raise Refused("the bulk request must be newline-delimited and end with a newline")
            return 200, {"errors": False, "items": [*self._bulk(name, body)]}
        if (method, verb) == ("POST", "_refresh"):
            return 200, {"_shards": {}}
        if (method, verb) == ("POST", "_search"):
            return 200, {"hits": {"hits": [{"_id": docid} for docid in self._search(json.loads(body))]}}
        raise Refused(f"no handler for {method} {path}")

    def _make(self, name, body):
        index, properties = body["settings"]["index"], body["mappings"]["properties"]
        analyser = index["analysis"]["analyzer"][properties["text"]["analyzer"]]
        tokenizer = dict(index["analysis"]["tokenizer"][analyser["tokenizer"]])
        if not set(tokenizer) - {"type"} <= _ANALYSIS["tokenizers"][tokenizer["type"]]:
            raise Refused("unknown setting of a tokenizer")
        if set(analyser["filter"]) - _ANALYSIS["filters"]:
            raise Refused("unknown filter")
        vector = properties["vector"]
        if self.kind == "opensearch":
            whole = index["knn"] is True and vector["type"] == "knn_vector" and vector["method"]["name"] == "hnsw"
            dimension = vector["dimension"]
        else:
            whole = vector["type"] == "dense_vector" and vector["index_options"]["type"] == "hnsw"
            dimension = vector["dims"]
        if not whole or name in self.indices:
            raise Refused("mapper_parsing_exception")
        self.indices[name] = dimension

    def _bulk(self, name, body):
        lines = body.decode().split("\n")[:-1]
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            (verb, meta), source = *json.loads(action).items(), json.loads(source)
            if (
                verb != "index"
                or set(source) != {"docid", "text", "vector"}
                or len(source["vector"]) != self.indices[name]
            ):
                raise Refused("strict_dynamic_mapping_exception")
            self.documents[meta["_id"]] = source
            yield {"index": {"_id": meta["_id"], "status": 201}}

    def _search(self, body):
        if self.kind == "opensearch" and "knn" in body["query"]:
            asked = body["query"]["knn"]["vector"]["vector"]
        elif self.kind == "elasticsearch" and "knn" in body:
            asked = body["knn"]["query_vector"]
            if body["knn"]["num_candidates"] < body["knn"]["k"]:
                raise Refused("[num_candidates] cannot be less than [k]")
        else:
            script = body["query"]["script_score"]["script"]
            is_knn = script.get("lang") == "knn" and script["source"] == "knn_score"
            if is_knn is not (self.kind == "opensearch"):
                raise Refused("compile error")
            asked = script["params"]["query_value" if is_knn else "query"]
        return nearest(self.documents, asked, body["size"])


class Vespa:
    """Vespa's document and search APIs."""

    def __init__(self) -> None:
        self.documents, self.requests = {}, []

    def answer(self, method, path, body, content_type):
        """Status and JSON of a request."""
        self.requests.append((method, path))
        parts = path.split("/")
        if method == "POST" and parts[1:3] == ["document", "v1"] and parts[5] == "docid" and len(parts) == 7:
            fields = json.loads(body)["fields"]
            if set(fields) != {"docid", "text", "vector"} or any(
                ord(c) < 32 and c not in "\t\n\r" for c in fields["text"]
            ):
                raise Refused("could not parse document")
            self.documents[unquote(parts[6])] = fields | {"vector": fields["vector"]["values"]}
            return 200, {"id": f"id:{parts[3]}:{parts[4]}::{unquote(parts[6])}"}
        if (method, path) == ("POST", "/search/"):
            asked = json.loads(body)
            if (
                not asked["yql"].startswith("select docid from passages where {targetHits:")
                or asked["ranking"] != "closeness"
            ):
                raise Refused("could not parse YQL")
            found = nearest(self.documents, asked["input.query(q)"], asked["hits"])
            return 200, {"root": {"children": [{"fields": {"docid": self.documents[name]["docid"]}} for name in found]}}
        raise Refused(f"no handler for {method} {path}")


def nearest(documents, asked, k):
    """Names of the documents with the highest inner products."""
    names = [*documents]
    scores = np.array([documents[name]["vector"] for name in names]) @ np.array(asked)
    return [names[row] for row in np.argsort(-scores)[:k]]


@contextmanager
def serving(engine):
    """The address of an engine on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def _any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, value = engine.answer(self.command, self.path, body, self.headers.get("Content-Type"))
            except (Refused, KeyError, ValueError) as error:
                status, value = 400, {"error": {"reason": repr(error)}}
            sent = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_HEAD = _any

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
