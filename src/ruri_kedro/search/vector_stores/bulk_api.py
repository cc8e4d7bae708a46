"""What OpenSearch and Elasticsearch have in common: a mapping, the bulk API, Japanese analysis."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ruri_kedro.errors import DataError
from ruri_kedro.search.vector_stores.documents import Batch, Layout
from ruri_kedro.search.vector_stores.http import Server
from ruri_kedro.tables.files import write_json

_MAPPING = "mapping.json"
_BULK = "bulk-{:05d}.ndjson"
_LONGEST_ID = 512  # bytes
# What the analysers leave out or make equal: grammar, spellings, widths.
_FILTERS = {
    "kuromoji": [
        "kuromoji_baseform",
        "kuromoji_part_of_speech",
        "cjk_width",
        "ja_stop",
        "kuromoji_stemmer",
        "lowercase",
    ],
    "sudachi": ["sudachi_part_of_speech", "sudachi_ja_stop", "sudachi_normalizedform", "cjk_width", "lowercase"],
}
_TOKENIZERS = {
    "kuromoji": {"type": "kuromoji_tokenizer", "mode": "search"},
    "sudachi": {"type": "sudachi_tokenizer", "split_mode": "C", "discard_punctuation": True},
}


class BulkApi(ABC):
    """An index with a vector and a Japanese text; what differs stands in the two classes below it."""

    address = "http(s)://HOST:9200"
    multi_vectors = False
    scheme = "ApiKey"

    def __init__(self, address: str, layout: Layout, folder: Path) -> None:
        self._layout, self._folder = layout, folder
        self._server = Server(address, self.scheme)

    @classmethod
    def write(cls, folder: Path, batches: Iterable[Batch], layout: Layout) -> None:
        """Write the body that makes the index, and a body of bulk requests for each batch."""
        write_json(folder / _MAPPING, cls.mapping(layout))
        for number, batch in enumerate(batches):
            with (folder / _BULK.format(number)).open("w", encoding="utf-8", newline="\n") as file:
                for docid, text, vector in batch.rows():
                    _check_id(docid)
                    row = {"docid": docid, "vector": vector} | ({} if text is None else {"text": text})
                    for line in ({"index": {"_id": docid}}, row):
                        file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def mapping(cls, layout: Layout) -> dict[str, Any]:
        """The body of PUT /NAME."""
        analyser = {"type": "custom", "tokenizer": "japanese", "filter": _FILTERS[layout.analyser]}
        analysis = {"tokenizer": {"japanese": _TOKENIZERS[layout.analyser]}, "analyzer": {"japanese": analyser}}
        fields = {"docid": {"type": "keyword"}, "vector": cls.vector(layout.dimension)}
        if layout.texts:
            fields["text"] = {"type": "text", "analyzer": "japanese"}
        index = cls.index_settings() | {"analysis": analysis}
        return {"settings": {"index": index}, "mappings": {"dynamic": "strict", "properties": fields}}

    def load(self) -> None:
        """Make the index if there is none of the name, send the batches, and open them to searches."""
        name = f"/{self._layout.name}"
        if not self._server.is_there(name):
            self._server.ask("PUT", name, json.loads((self._folder / _MAPPING).read_text("utf-8")))
        for path in sorted(self._folder.glob("bulk-*.ndjson")):
            answer = self._server.ask("POST", f"{name}/_bulk", lines=path.read_bytes())
            if answer["errors"]:
                failed = next(item["index"] for item in answer["items"] if "error" in item["index"])
                raise DataError(
                    f"{path}, document {failed['_id']!r}: {failed['error'].get('reason')}. Put it right and run the "
                    "same again: what is there is replaced."
                )
        self._server.ask("POST", f"{name}/_refresh")

    def search(self, vectors: list[np.ndarray], k: int, exact: bool) -> list[list[str]]:
        """Docids of the nearest, by a script over all documents or by the HNSW index."""
        make = self.exact_query if exact else self.index_query
        return [self._hits(make(vector.tolist(), k), k) for vector in vectors]

    def _hits(self, query: dict[str, Any], k: int) -> list[str]:
        body = {"size": k, "_source": False, **query}
        answer = self._server.ask("POST", f"/{self._layout.name}/_search", body)
        return [hit["_id"] for hit in answer["hits"]["hits"]]

    # What the two engines spell in different ways.

    @staticmethod
    @abstractmethod
    def index_settings() -> dict[str, Any]:
        """Settings of the index."""

    @staticmethod
    @abstractmethod
    def vector(dimension: int) -> dict[str, Any]:
        """The mapping of the vector."""

    @staticmethod
    @abstractmethod
    def index_query(vector: list[float], k: int) -> dict[str, Any]:
        """A search by the index."""

    @staticmethod
    @abstractmethod
    def exact_query(vector: list[float], k: int) -> dict[str, Any]:
        """A search that scores every document."""


def _check_id(docid: str) -> None:
    if not 0 < len(docid.encode("utf-8")) <= _LONGEST_ID:
        raise DataError(f"docid {docid[:40]!r}: 1 to {_LONGEST_ID} bytes are expected here. Give it a shorter one.")
