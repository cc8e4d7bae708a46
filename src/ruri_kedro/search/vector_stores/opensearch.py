"""OpenSearch: the k-NN plugin, with the analysers of analysis-kuromoji or analysis-sudachi."""

from typing import Any

from ruri_kedro.search.vector_stores.bulk_api import BulkApi


class OpenSearch(BulkApi):
    """mapping.json: body of PUT /NAME; bulk-*.ndjson: bodies of POST /NAME/_bulk."""

    scheme = "Bearer"

    @staticmethod
    def index_settings() -> dict[str, Any]:
        """k-NN is switched on for each index."""
        return {"knn": True}

    @staticmethod
    def vector(dimension: int) -> dict[str, Any]:
        """HNSW of Lucene by cosine."""
        method = {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"}
        return {"type": "knn_vector", "dimension": dimension, "method": method}

    @staticmethod
    def index_query(vector: list[float], k: int) -> dict[str, Any]:
        """The query `knn`."""
        return {"query": {"knn": {"vector": {"vector": vector, "k": k}}}}

    @staticmethod
    def exact_query(vector: list[float], k: int) -> dict[str, Any]:
        """The script `knn_score`."""
        params = {"field": "vector", "query_value": vector, "space_type": "cosinesimil"}
        script = {"lang": "knn", "source": "knn_score", "params": params}
        return {"query": {"script_score": {"query": {"match_all": {}}, "script": script}}}
