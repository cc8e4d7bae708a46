"""What a dry run says that searches cost."""

from types import SimpleNamespace

import pytest

from ruri_kedro.mining import dry_run

BM25 = {"engine": "bm25s", "analyzer": "sudachi_a", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 64}
DOCUMENTS = [(f"d{i}", f"{i}番の駅から海が見える。") for i in range(20)]
QUESTIONS = ["駅はどこか。", "海はどこか。"]


@pytest.mark.parametrize(
    ("few", "all_", "each"),
    [
        (0.5, 0.5, 0.25),  # as long in the larger index: a query costs the same in any collection
        (0.5, 0.4, 0.2),  # noise is no reason to become faster
        (0.2, 2.0, 1.0 + 180 * 0.05),  # two questions take 0.1 s more for each of the 18 documents that are more
    ],
)
def test_a_search_grows_with_the_collection_as_it_does_among_the_documents_tried(monkeypatch, few, all_, each):
    times = iter([3.0, few, few + 1, few + 1, all_ + 1, all_, all_ + 1])  # of the building, then three of each index
    monkeypatch.setattr(dry_run, "_seconds", lambda work: (work(), next(times))[1])
    source = SimpleNamespace(name="questions")
    index, search = dry_run._by_bm25(
        BM25, source, 200, DOCUMENTS, [source], {"questions": (1_000, QUESTIONS)}, {"depth": 5}
    )
    assert index.name == "BM25 index of questions" and index.seconds == pytest.approx(30) and index.disk_gb > 0
    assert search.amount == "1,000 queries" and search.seconds == pytest.approx(1_000 * each)
