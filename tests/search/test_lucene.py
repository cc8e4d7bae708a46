"""The direct way through Lucene against Anserini's own batch search."""

import numpy as np
import pytest

from ruri_kedro.search.bm25.index import BM25Settings, build_index, search
from ruri_kedro.search.bm25.java import java_class, start_jvm


def anserinis_hits(folder, queries, k, settings):
    """(docid, score) of each query by Anserini's SimpleSearcher, one object per hit."""
    searcher = java_class("io.anserini.search.SimpleSearcher")(str(folder / "lucene"))
    if settings.pretokenized:
        searcher.set_analyzer(java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")())
    else:
        searcher.set_language(settings.analyzer)
    searcher.set_bm25(settings.k1, settings.b)
    split = settings.terms()
    found = [[(hit.docid, np.float32(hit.score)) for hit in searcher.search(split(query), k)] for query in queries]
    searcher.close()
    return found


@pytest.mark.parametrize(("analyzer", "k"), [("ja", 10), ("ja", 100), ("sudachi_b", 30)])
def test_docids_and_scores_are_those_of_anserini(tmp_path, analyzer, k):
    start_jvm(512, 2)
    rng = np.random.default_rng(0)
    words = [
        "東京",
        "京都",
        "海",
        "山",
        "寺",
        "駅",
        "川",
        "橋",
        "電車",
        "温泉",
        "牛丼",
        "カレー",
        "タワー",
        "大学",
        "図書館",
    ]
    texts = [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(400)]
    documents = [(f"d{rng.integers(10**9)}-{number % 7}-é{number}", text) for number, text in enumerate(texts)]
    settings = BM25Settings(analyzer, 1.2, 0.7, 2, 512, "lucene")
    build_index(documents, tmp_path / "index", settings, "key")
    queries = [" ".join(rng.choice(words, 3)) for _ in range(25)] + ["", "海", "海 海 海"]
    found = list(search(tmp_path / "index", queries, k, settings))
    expected = anserinis_hits(tmp_path / "index", queries, k, settings)
    assert max(map(len, expected)) == k
    assert [[(docid, np.float32(score)) for docid, score in hits] for hits in found] == expected
