"""Retrievers: documents in, the best for each query out."""
