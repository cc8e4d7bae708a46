"""Search among token vectors: centroids and residuals (ColBERTv2, arXiv 2112.01488), PLAID (2205.09707)."""
