"""Elasticsearch: dense_vector, with the analysers of analysis-kuromoji or analysis-sudachi."""

from typing import Any

from ruri_kedro.search.vector_stores.bulk_api import BulkApi

_CANDIDATES = 10  # times k that each shard looks at


class Elasticsearch(BulkApi):
    """mapping.json: body of PUT /NAME; bulk-*.ndjson: bodies of POST /NAME/_bulk."""

    @staticmethod
    def index_settings() -> dict[str, Any]:
        """Nothing beside the analysis."""
        return {}

    @staticmethod
    def vector(dimension: int) -> dict[str, Any]:
        """HNSW by cosine, of the vectors as they are: the default of new versions is quantised to a bit."""
        return {"type": "dense_vector", "dims": dimension, "index": True, "similarity": "cosine",
                "index_options": {"type": "hnsw"}}  # fmt: skip

    @staticmethod
    def index_query(vector: list[float], k: int) -> dict[str, Any]:
        """The search option `knn`."""
        return {"knn": {"field": "vector", "query_vector": vector, "k": k, "num_candidates": _CANDIDATES * k}}

    @staticmethod
    def exact_query(vector: list[float], k: int) -> dict[str, Any]:
        """A script of the cosine, which may not be negative there."""
        script = {"source": "cosineSimilarity(params.query, 'vector') + 1.0", "params": {"query": vector}}
        return {"query": {"script_score": {"query": {"match_all": {}}, "script": script}}}
