"""Vespa: an application package with a schema, and a feed."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ruri_kedro.search.vector_stores.documents import Batch, Layout, read_lines, write_lines
from ruri_kedro.search.vector_stores.http import Server

_FEED = "feed.jsonl"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # no text of Vespa may hold one

_SERVICES = """<?xml version="1.0" encoding="utf-8" ?>
<services version="1.0">
  <container id="default" version="1.0"><search /><document-api /></container>
  <content id="{name}" version="1.0">
    <min-redundancy>1</min-redundancy>
    <documents><document type="{name}" mode="index" /></documents>
  </content>
</services>
"""

_SCHEMA = """schema {name} {{
  document {name} {{
    field docid type string {{ indexing: summary | attribute }}
{fields}
  }}
{profiles}
}}
"""

# Vespa brings no Japanese dictionary: texts are matched by grams of two characters.
_TEXT = """    field text type string {
      indexing: summary | index
      match { gram gram-size: 2 }
    }"""

_VECTOR = """    field vector type tensor<float>(v[{dimension}]) {{
      indexing: attribute | index
      attribute {{ distance-metric: prenormalized-angular }}
    }}"""
_CLOSENESS = """  rank-profile closeness {{
    inputs {{ query(q) tensor<float>(v[{dimension}]) }}
    first-phase {{ expression: closeness(field, vector) }}
  }}"""
_HYBRID = """  rank-profile hybrid inherits closeness {
    global-phase { expression: reciprocal_rank(closeness(field, vector)) + reciprocal_rank(nativeRank(text)) }
  }"""

_VECTORS = """    field vectors type tensor<bfloat16>(token{{}}, v[{dimension}]) {{ indexing: attribute }}"""
_MAX_SIM = """  rank-profile max_sim {{
    inputs {{ query(tokens) tensor<float>(query_token{{}}, v[{dimension}]) }}
    first-phase {{
      expression: sum(reduce(sum(query(tokens) * attribute(vectors), v), max, token), query_token)
    }}
  }}"""


class Vespa:
    """application: vespa deploy application; feed.jsonl: vespa feed feed.jsonl."""

    address = "http(s)://HOST:8080"
    multi_vectors = True

    def __init__(self, address: str, layout: Layout, folder: Path) -> None:
        self._layout, self._folder = layout, folder
        self._server = Server(address, "Bearer")

    @staticmethod
    def write(folder: Path, batches: Iterable[Batch], layout: Layout) -> None:
        """Write the application and the feed."""
        (folder / "application" / "schemas").mkdir(parents=True)
        (folder / "application" / "services.xml").write_text(_SERVICES.format(name=layout.name), encoding="utf-8")
        schema = folder / "application" / "schemas" / f"{layout.name}.sd"
        schema.write_text(schema_text(layout), encoding="utf-8")
        write_lines(folder / _FEED, (row for batch in batches for row in _operations(batch, layout)))

    def load(self) -> None:
        """Put the documents, one by one, into an application that is deployed; `vespa feed` is faster for millions."""
        for line in read_lines(self._folder / _FEED):
            row = json.loads(line)
            name = row["put"].split("::", 1)[1]
            path = f"/document/v1/{self._layout.name}/{self._layout.name}/docid/{quote(name, safe='')}"
            self._server.ask("POST", path, {"fields": row["fields"]})

    def search(self, vectors: list[np.ndarray], k: int, exact: bool) -> list[list[str]]:
        """Docids of the nearest; multi-vectors have no index there and are all scored."""
        return [self._hits(vector, k, exact) for vector in vectors]

    def _hits(self, vector: np.ndarray, k: int, exact: bool) -> list[str]:
        if self._layout.multi_vectors:
            where = "true"
            asked: dict[str, Any] = {"ranking": "max_sim", "input.query(tokens)": _blocks(vector.tolist())}
        else:
            where = f"{{targetHits:{k},approximate:{str(not exact).lower()}}}nearestNeighbor(vector,q)"
            asked = {"ranking": "closeness", "input.query(q)": vector.tolist()}
        yql = f"select docid from {self._layout.name} where {where}"
        answer = self._server.ask("POST", "/search/", {"yql": yql, "hits": k, **asked})
        return [child["fields"]["docid"] for child in answer["root"].get("children", [])]


def schema_text(layout: Layout) -> str:
    """The schema of documents: with an HNSW index of the vector, or MaxSim of the vectors of tokens."""
    text = [_TEXT] if layout.texts else []
    if layout.multi_vectors:
        fields, profiles = [_VECTORS.format(dimension=layout.dimension)], [_MAX_SIM.format(dimension=layout.dimension)]
    else:
        fields, profiles = [_VECTOR.format(dimension=layout.dimension)], [_CLOSENESS.format(dimension=layout.dimension)]
        profiles += [_HYBRID] if layout.texts else []
    return _SCHEMA.format(name=layout.name, fields="\n".join([*text, *fields]), profiles="\n".join(profiles))


def _operations(batch: Batch, layout: Layout) -> Iterator[dict[str, Any]]:
    for docid, text, vector in batch.rows():
        fields: dict[str, Any] = {"docid": _clean(docid)} | ({} if text is None else {"text": _clean(text)})
        fields[layout.vector_field] = _blocks(vector) if layout.multi_vectors else {"values": vector}
        # Of a docid any character may be its own; an address of Vespa takes those of a URL.
        yield {"put": f"id:{layout.name}:{layout.name}::{quote(docid, safe='-._~:/')}", "fields": fields}


def _blocks(vectors: list) -> dict[str, Any]:
    return {"blocks": {str(token): vector for token, vector in enumerate(vectors)}}


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text)
