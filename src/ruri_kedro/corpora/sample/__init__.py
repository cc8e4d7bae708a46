"""A small made-up Japanese corpus: one consistent world told as articles, questions, inferences, edits, news.

``python -m ruri_kedro.corpora.sample`` writes it. All of it is invented; the same seed gives the same rows.
"""

from ruri_kedro.corpora.sample.corpus import SEED, generate

__all__ = ["SEED", "generate"]
