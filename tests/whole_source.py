"""All that choosing negatives takes of a source, computed in memory from all of its pairs."""

from ruri_kedro.retrieval.examples import SourcePairs, positives_by_query
from ruri_kedro.text.normalize import match_key


def whole_source(source, pairs, texts, candidates=()):
    """The pairs of a source as one shard."""

    def sides(is_train):
        return {row["positive"] for row in pairs if (row["split"] == "train") == is_train and row["positive"]}

    held_out = {match_key(texts[docid]) for docid in sides(False)}
    pool = sorted(docid for docid in sides(True) if match_key(texts[docid]) not in held_out)
    return SourcePairs(source, pairs, positives_by_query(pairs), texts, dict(candidates), held_out, pool)
