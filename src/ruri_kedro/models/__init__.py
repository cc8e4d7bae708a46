"""Models in, vectors and scores out."""
