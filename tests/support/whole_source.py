"""All that choosing negatives takes of a source, computed in memory from all of its pairs."""

import numpy as np

from ruri_kedro.mining.candidates import Candidates
from ruri_kedro.mining.examples import SourcePairs, positives_by_query
from ruri_kedro.text.normalize import match_key


def whole_source(source, pairs, texts, candidates=()):
    """The pairs of a source as one shard."""

    def sides(is_train):
        return {row["positive"] for row in pairs if (row["split"] == "train") == is_train and row["positive"]}

    held_out = {match_key(texts[docid]) for docid in sides(False)}
    pool = sorted(docid for docid in sides(True) if match_key(texts[docid]) not in held_out)
    return SourcePairs(source, pairs, positives_by_query(pairs), texts, dict(candidates), held_out, pool)


def candidates_by(docids, bm25, dense=(), scores=(), positives=None):
    """Candidates of one query with their ranks by either search, without a limit of depth."""
    positives = positives or {}
    return Candidates(
        np.array(docids, dtype=object),
        {"bm25": np.array(bm25), "dense": np.array(dense or [0] * len(docids))},
        np.array(scores),
        np.array(list(positives), dtype=object),
        np.array(list(positives.values())),
        depth=len(docids),
    )
