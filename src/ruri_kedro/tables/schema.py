"""The columns of every table. Text stands in `passages` only; all else carries ids."""

import pyarrow as pa

_ids = pa.list_(pa.string())


def _table(*columns: tuple[str, pa.DataType], optional: frozenset[str] = frozenset()) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name in optional) for name, kind in columns])


PASSAGES = _table(
    ("docid", pa.string()),  # stable hash of source and content
    ("source", pa.string()),
    ("title", pa.string()),
    ("section", pa.string()),
    ("text", pa.string()),
)

PAIRS = _table(
    ("pair_id", pa.string()),
    ("query_id", pa.string()),  # stable hash of the anchor's text
    ("source", pa.string()),
    ("split", pa.string()),  # train or validation
    ("anchor", pa.string()),  # docid
    ("positive", pa.string()),  # docid; empty for a question whose positives are mined
    ("given_negatives", _ids),
    ("answers", _ids),
    ("origin", pa.string()),  # given, mined, shuffled or synthetic
    ("label", pa.float32()),  # how alike the two texts are, higher is more; null where the source has none
    optional=frozenset({"label"}),
)

CANDIDATES = _table(
    ("query_id", pa.string()),
    ("source", pa.string()),
    ("collection", pa.string()),
    ("docids", _ids),  # all that a retriever found, by fused rank, best first
    ("bm25_ranks", pa.list_(pa.int32())),  # 1-based; 0 where the retriever did not find it
    ("bm25_scores", pa.list_(pa.float32())),
    ("dense_ranks", pa.list_(pa.int32())),
    ("dense_scores", pa.list_(pa.float32())),  # known for every docid where dense search was used
    ("positives", _ids),  # the query's known positives, where dense search was used
    ("positive_scores", pa.list_(pa.float32())),  # their scores by dense search
)

EXAMPLES = _table(
    ("example_id", pa.string()),
    ("pair_id", pa.string()),
    ("query_id", pa.string()),
    ("source", pa.string()),
    ("split", pa.string()),
    ("objective", pa.string()),  # a name of recipe/objectives.py
    ("anchor", pa.string()),
    ("positive", pa.string()),
    ("negatives", _ids),
    ("shuffled", pa.bool_()),  # the positive is read with its sentences in another order
    ("label", pa.float32()),  # of the pair; null where it has none
    optional=frozenset({"label"}),
)

TEACHER_SCORES = _table(
    ("query_id", pa.string()),
    ("docid", pa.string()),
    ("score", pa.float32()),  # logit of the reranker
)

DUPLICATES = _table(
    ("docid", pa.string()),  # a positive or passage that is left out
    ("source", pa.string()),
    ("kept", pa.string()),  # docid of the earlier text that it is a near duplicate of
    ("kept_source", pa.string()),
    ("overlap", pa.float32()),  # Jaccard similarity of their n-grams
)

MATCHES = _table(
    ("docid", pa.string()),
    ("test", pa.string()),  # task of the benchmark
    ("role", pa.string()),  # of the test text, as in test_texts
    ("item_id", pa.string()),
    ("kind", pa.string()),  # exact, contained, near; or short: exact, but counts as half of a pair only
    ("overlap", pa.float32()),  # 1 for an exact match, else the containment or the Jaccard similarity
)

LEAKS = _table(
    ("pair_id", pa.string()),
    ("part", pa.string()),  # anchor, positive, negative, or pair: anchor and positive
    ("docid", pa.string()),  # the text that matches
    ("test", pa.string()),
    ("role", pa.string()),  # query, text, passage, or pair: a query and its positive
    ("item_id", pa.string()),
    ("kind", pa.string()),  # exact, contained or near
    ("overlap", pa.float32()),
    ("removed", pa.bool_()),  # or only reported
)

INCONSISTENT = _table(
    ("pair_id", pa.string()),  # of training; gives no example, but its positive stays one
    ("rank", pa.int64()),  # of its positive among a sample
)

SCORES = _table(
    ("model", pa.string()),
    ("task", pa.string()),
    ("metric", pa.string()),
    ("query_id", pa.string()),  # empty for a metric of a whole task
    ("score", pa.float64()),
)

TEST_TEXTS = _table(
    ("test", pa.string()),
    ("role", pa.string()),  # query, positive, text or passage
    ("item_id", pa.string()),  # a query and its positives share it
    ("text", pa.string()),
)

SCHEMAS: dict[str, pa.Schema] = {
    "passages": PASSAGES,
    "pairs": PAIRS,
    "candidates": CANDIDATES,
    "examples": EXAMPLES,
    "teacher_scores": TEACHER_SCORES,
    "duplicates": DUPLICATES,
    "matches": MATCHES,
    "leaks": LEAKS,
    "inconsistent": INCONSISTENT,
    "scores": SCORES,
    "test_texts": TEST_TEXTS,
}
