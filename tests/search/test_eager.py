"""BM25 by bm25s: the formula, Lucene's order, ties, builds that fail, and no Java."""

import random
import subprocess
import sys

import numpy as np
import pytest
from lucene_formula import bm25_scores

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.search.bm25.index import BM25Settings, build_index, search
from ruri_kedro.search.bm25.sudachi import term_splitter
from ruri_kedro.tables.checksums import facts_of

TOWN = [
    ("d2", "東京タワーは高い"),
    ("d10", "東京タワーは高い"),
    ("d1", "東京タワーは高い"),
    ("sea", "海は広いな大きいな"),
    ("cow", "𠮷野家の牛丼とカレー"),
    ("none", " \n"),
]


def bm25(engine="bm25s", analyzer="sudachi_a", k1=0.9):
    return BM25Settings(analyzer=analyzer, k1=k1, b=0.4, threads=2, heap_mb=256, engine=engine)


def docids(hits):
    return [docid for docid, _ in hits]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town") / "index"
    build_index(TOWN, folder, bm25(), "key")
    return folder


@pytest.mark.parametrize("mode", ["a", "b", "c"])
def test_the_order_is_nearly_lucenes_and_scores_are_the_formulas(jsquad, tmp_path, mode):
    documents = dict(list(jsquad.documents.items())[::4])
    queries = jsquad.questions[::40]
    found = {}
    for engine in ("bm25s", "lucene"):
        settings = bm25(engine, f"sudachi_{mode}")
        build_index(documents.items(), tmp_path / engine, settings, "key")
        found[engine] = list(search(tmp_path / engine, queries, 100, settings))
    shared = [
        len({*docids(ours)} & {*docids(lucenes)}) / max(1, len(lucenes))
        for ours, lucenes in zip(found["bm25s"], found["lucene"], strict=True)
    ]
    assert np.mean(shared) > 0.98
    first = [docids(ours)[:1] == docids(other)[:1] for ours, other in zip(*found.values(), strict=True)]
    assert np.mean(first) > 0.95

    split = term_splitter(mode)
    names = sorted(documents)
    terms = [split(documents[name]).split() for name in names]
    for query, hits in zip(queries[:20], found["bm25s"], strict=False):
        expected = bm25_scores(terms, split(query).split(), 0.9, 0.4, stored=int)
        best = np.sort(expected)[::-1][: len(hits)]
        np.testing.assert_allclose([score for _, score in hits], best, rtol=1e-5)
        np.testing.assert_allclose([expected[names.index(docid)] for docid, _ in hits], best, rtol=1e-5)


def test_equal_scores_stand_in_order_of_docid_also_at_the_cut(town):
    assert docids(*search(town, ["タワー"], 10, bm25())) == ["d1", "d10", "d2"]
    assert docids(*search(town, ["タワー"], 2, bm25())) == ["d1", "d10"]


def test_hits_do_not_depend_on_the_order_of_documents(jsquad, tmp_path):
    documents = list(jsquad.documents.items())[:200]
    documents += [(f"again {docid}", text) for docid, text in documents]
    build_index(documents, tmp_path / "plain", bm25(), "key")
    random.Random(0).shuffle(documents)
    build_index(documents, tmp_path / "shuffled", bm25(), "key")
    queries = jsquad.questions[::100]
    plain, shuffled = (list(search(tmp_path / name, queries, 31, bm25())) for name in ("plain", "shuffled"))
    assert plain == shuffled


@pytest.mark.parametrize("query", ["", " ", "。、？！", "\0", "😀", "知らない言葉xyzzy"])
def test_a_query_that_matches_nothing_has_no_hits(town, query):
    assert list(search(town, [query], 5, bm25())) == [[]]


def test_the_manifest_is_that_of_the_other_engine(town, tmp_path):
    build_index(TOWN, tmp_path / "index", bm25("lucene"), "key")
    lucene, ours = facts_of(tmp_path / "index"), facts_of(town)
    assert ours == lucene | {"engine": "bm25s", "k1": 0.9, "b": 0.4}


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([("a", "海"), ("b", "山"), ("a", "川")], "3 documents have only 2 docids"),
        ([("a", " ")], "no document"),
        ([], "no document"),
    ],
)
def test_documents_that_cannot_be_indexed(tmp_path, documents, message):
    with pytest.raises(DataError, match=message):
        build_index(documents, tmp_path / "index", bm25(), "key")
    assert list(tmp_path.iterdir()) == []


def test_an_index_of_other_constants_or_another_engine_is_refused(town):
    with pytest.raises(DataError, match=r"k1 '0\.9', not '1\.2'"):
        search(town, ["海"], 5, bm25(k1=1.2))
    with pytest.raises(DataError, match="engine 'bm25s', not 'lucene'"):
        search(town, ["海"], 5, bm25("lucene"))


def test_lucenes_own_analyser_needs_lucene():
    with pytest.raises(RecipeError, match="analyser is part of Lucene"):
        bm25(analyzer="ja")


def test_no_java_is_started(town):
    code = (
        "import sys; from pathlib import Path; from ruri_kedro.search.bm25.index import BM25Settings, search\n"
        f"settings = BM25Settings('sudachi_a', 0.9, 0.4, 2, 256, 'bm25s')\n"
        f"assert list(search(Path({str(town)!r}), ['海'], 5, settings))[0][0][0] == 'sea'\n"
        "assert not {'jnius', 'pyserini'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
