"""BM25, dense search, fusion, choice of negatives."""
