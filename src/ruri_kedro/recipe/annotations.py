"""Annotations of nodes. Kedro resolves them at start, when none of the libraries is to be imported."""

from typing import Any

Params = dict[str, Any]
Embedder = Any  # sentence_transformers.SentenceTransformer
Reranker = Any  # sentence_transformers.CrossEncoder
Frame = Any  # pandas.DataFrame
Figure = Any  # matplotlib.figure.Figure
Decision = Any  # ruri_kedro.registry.promotion.promote.Decision
