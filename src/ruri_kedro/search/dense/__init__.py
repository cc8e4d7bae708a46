"""Search among vectors by faiss, and the cache of the vectors."""
