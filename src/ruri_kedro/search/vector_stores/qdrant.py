"""Qdrant: a server, or embedded in a folder."""

import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ruri_kedro.search.vector_stores.documents import Batch, Layout, read_lines, write_lines
from ruri_kedro.search.vector_stores.http import KEY
from ruri_kedro.tables.files import write_json

_COLLECTION, _POINTS, _TEXT = "collection.json", "points.jsonl", "text-index.json"


class Qdrant:
    """collection.json: body of PUT /collections/NAME; text-index.json: of PUT .../index; points.jsonl: a body of PUT
    .../points a line."""

    address = "http(s)://HOST:6333, or a folder"
    multi_vectors = True

    def __init__(self, address: str, layout: Layout, folder: Path) -> None:
        import qdrant_client

        self._layout, self._folder, self._models = layout, folder, qdrant_client.models
        self._remote = "://" in address
        where = {"url": address, "api_key": os.environ.get(KEY)} if self._remote else {"path": address}
        self._client = qdrant_client.QdrantClient(**where)

    @staticmethod
    def write(folder: Path, batches: Iterable[Batch], layout: Layout) -> None:
        """Write bodies of requests. A point's number is made of its docid, so that a point sent twice is one."""
        vectors: dict[str, Any] = {"size": layout.dimension, "distance": "Dot" if layout.multi_vectors else "Cosine"}
        if layout.multi_vectors:
            vectors["multivector_config"] = {"comparator": "max_sim"}
        write_json(folder / _COLLECTION, {"vectors": vectors})
        if layout.texts:  # the tokenizer that knows Japanese words
            text = {"type": "text", "tokenizer": "multilingual", "lowercase": True}
            write_json(folder / _TEXT, {"field_name": "text", "field_schema": text})
        write_lines(folder / _POINTS, ({"points": _points(batch)} for batch in batches if batch.docids))

    def load(self) -> None:
        """Make the collection if there is none of the name, and put the points."""
        name, models = self._layout.name, self._models
        if not self._client.collection_exists(name):
            made = models.CreateCollection.model_validate_json((self._folder / _COLLECTION).read_text("utf-8"))
            self._client.create_collection(name, vectors_config=made.vectors)
        if self._layout.texts and self._remote:  # embedded, it scans
            index = json.loads((self._folder / _TEXT).read_text("utf-8"))
            self._client.create_payload_index(name, index["field_name"], index["field_schema"])
        for line in read_lines(self._folder / _POINTS):
            self._client.upsert(name, models.PointsList.model_validate_json(line).points, wait=True)

    def search(self, vectors: list[np.ndarray], k: int, exact: bool) -> list[list[str]]:
        """Docids of the nearest points, exactly or by the HNSW index."""
        params = self._models.SearchParams(exact=exact) if self._remote else None  # embedded, every search is exact
        answers = (
            self._client.query_points(self._layout.name, query=vector.tolist(), limit=k, search_params=params)
            for vector in vectors
        )
        return [[point.payload["docid"] for point in answer.points] for answer in answers]


def point_id(docid: str) -> str:
    """The number of a document's point: Qdrant takes whole numbers and UUIDs."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, docid))


def _points(batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "id": point_id(docid),
            "vector": vector,
            "payload": {"docid": docid} | ({} if text is None else {"text": text}),
        }
        for docid, text, vector in batch.rows()
    ]
