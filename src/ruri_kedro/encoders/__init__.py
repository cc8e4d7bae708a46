"""Base models, tokens, and encoding and scoring by token budget: models in, vectors and scores out."""
