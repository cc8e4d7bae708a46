"""What of JNLI and JSICK's training pairs the tests of conf/fio-mini know."""

import gzip
import json

from planted import search

from ruri_kedro.benchmark.tasks import load as tasks
from ruri_kedro.text.normalize import normalize


def pairs_of(path, first, second):
    """The distinct pairs of texts of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        return list(dict.fromkeys((normalize(row[first]), normalize(row[second])) for row in rows))


def test_the_216_pairs_that_jnli_shares_with_jsts_are_removed(shared_data):
    jsts = tasks.load_task("jsts", {"type": "sts", "path": "ja/jsts/valid.jsonl.gz"}, shared_data)
    pairs = pairs_of(shared_data / "ja/jnli/valid.jsonl.gz", "premise", "hypothesis")
    tested = {frozenset(pair) for pair in pairs_of(shared_data / "ja/jsts/valid.jsonl.gz", "text1", "text2")}
    shared = [pair for pair in pairs if frozenset(pair) in tested]
    assert len(shared) == 216
    removed = search([], pairs, list(tasks.test_texts(jsts))).removed
    assert {*shared} <= {*removed} and len(removed) < 0.15 * len(pairs)
