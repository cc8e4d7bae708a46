"""BM25: Lucene by Pyserini, or bm25s without Java."""
