"""BM25: the formula, a known corpus, ties, odd queries, builds that fail."""

import random
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from lucene_formula import bm25_scores, stored_length

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.recipe.parse import parse
from ruri_kedro.search.bm25.index import Analyzer, BM25Settings, build_index, search
from ruri_kedro.search.bm25.java import java_class, start_jvm
from ruri_kedro.search.bm25.sudachi import term_splitter
from ruri_kedro.tables.files import read_json

TOWN = [
    ("d2", "東京タワーは高い"),
    ("d10", "東京タワーは高い"),
    ("d1", "東京タワーは高い"),
    ("sea", "海は広いな大きいな"),
    ("cow", "𠮷野家の牛丼とカレー"),
    ("none", " \n"),
]


def bm25(analyzer="ja", threads=2, heap_mb=512, engine="lucene", k1=0.9):
    return BM25Settings(analyzer=analyzer, k1=k1, b=0.4, threads=threads, heap_mb=heap_mb, engine=engine)


def docids(hits):
    return [docid for docid, _ in hits]


def lucene_terms(text):
    analyzer = java_class("io.anserini.analysis.AnalyzerMap").getLanguageSpecificAnalyzer("ja")
    return java_class("io.anserini.analysis.AnalyzerUtils").analyze(analyzer, text).toArray()


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town") / "index"
    build_index(TOWN, folder, bm25(), "key")
    return folder


@pytest.mark.parametrize("analyzer", get_args(Analyzer))
def test_scores_and_order_are_those_of_the_formula(jsquad, tmp_path, analyzer):
    documents = dict(list(jsquad.documents.items())[::4])
    queries = jsquad.questions[::40]
    build_index(documents.items(), tmp_path / "index", bm25(analyzer), "key")
    found = list(search(tmp_path / "index", queries, 20, bm25(analyzer)))
    split = lucene_terms if analyzer == "ja" else lambda text: term_splitter(analyzer[-1])(text).split()
    names = sorted(documents)
    terms = [split(documents[name]) for name in names]
    for query, hits in zip(queries, found, strict=True):
        expected = bm25_scores(terms, split(query), 0.9, 0.4)
        best = np.sort(expected)[::-1][: len(hits)]
        # Anserini rounds to 4 decimals and moves ties apart by 0.000001 each.
        np.testing.assert_allclose([score for _, score in hits], best, atol=1e-4)
        np.testing.assert_allclose([expected[names.index(docid)] for docid, _ in hits], best, atol=1e-5)
        assert len(hits) == min(20, np.count_nonzero(expected))


def test_stored_lengths_are_lucenes():
    start_jvm(512, 2)
    small_float = java_class("org.apache.lucene.util.SmallFloat")
    for length in [*range(300), 1000, 12345]:
        code = small_float.intToByte4(length)
        assert stored_length(length) == small_float.byte4ToInt(code)


def test_recall_on_jsquad_is_the_published_one(jsquad, tmp_path):
    # JaColBERT (arXiv 2312.16144) states 0.906 and 0.978 for BM25; Pyserini's own commands give 0.898 and 0.977.
    build_index(jsquad.documents.items(), tmp_path / "index", bm25(), "key")
    found = [docids(hits) for hits in search(tmp_path / "index", jsquad.questions, 10, bm25())]
    first = np.mean([hits[:1] == [answer] for hits, answer in zip(found, jsquad.answers, strict=True)])
    tenth = np.mean([answer in hits for hits, answer in zip(found, jsquad.answers, strict=True)])
    assert (len(jsquad.documents), len(found)) == (1145, 4442)
    assert first == pytest.approx(0.898, abs=0.002)
    assert tenth == pytest.approx(0.977, abs=0.002)


def test_hits_do_not_depend_on_order_threads_or_segments(jsquad, tmp_path):
    documents = list(jsquad.documents.items())
    documents += [(f"again {docid}", text) for docid, text in documents]
    queries = jsquad.questions[::100]
    build_index(documents, tmp_path / "plain", bm25(threads=1), "key")
    random.Random(0).shuffle(documents)
    # A heap of 1 MiB in the settings makes the writer start a new segment with every thousand documents.
    build_index(documents, tmp_path / "shuffled", bm25(threads=4, heap_mb=1), "key")
    plain, shuffled = (list(search(tmp_path / name, queries, 31, bm25())) for name in ("plain", "shuffled"))
    assert plain == shuffled
    assert read_json(tmp_path / "plain/manifest.json")["documents"] == len(documents)


def test_equal_scores_stand_in_order_of_docid_also_at_the_cut(town):
    assert docids(*search(town, ["タワー"], 10, bm25())) == ["d1", "d10", "d2"]
    assert docids(*search(town, ["タワー"], 2, bm25())) == ["d1", "d10"]


def test_scores_fall(town):
    scores = [score for _, score in next(search(town, ["高いタワー"], 10, bm25()))]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] < 1e-5


@pytest.mark.parametrize("analyzer", ["ja", "sudachi_b"])
@pytest.mark.parametrize("query", ["", " ", "。、？！", "\0", "😀", "知らない言葉xyzzy"])
def test_a_query_that_matches_nothing_has_no_hits(tmp_path, query, analyzer):
    build_index(TOWN, tmp_path / "index", bm25(analyzer), "key")
    assert list(search(tmp_path / "index", [query], 5, bm25(analyzer))) == [[]]


@pytest.mark.parametrize("query", ["東京 AND (タワー", 'タワー"', "title:タワー~2^3 [a TO", "タワー\\", "タワー\n\t*?"])
def test_no_character_of_a_query_is_special(town, query):
    assert set(docids(*search(town, [query], 10, bm25()))) == {"d1", "d2", "d10"}


def test_characters_outside_the_basic_plane_reach_lucene(town):
    assert docids(*search(town, ["𠮷野家"], 10, bm25())) == ["cow"]


@pytest.mark.parametrize("analyzer", ["ja", "sudachi_a"])
def test_a_query_may_have_more_terms_than_lucenes_default_limit(tmp_path, analyzer):
    build_index(TOWN, tmp_path / "index", bm25(analyzer), "key")
    query = " ".join(f"x{number}" for number in range(3000)) + " カレー"
    assert docids(*search(tmp_path / "index", [query], 10, bm25(analyzer))) == ["cow"]


def test_each_query_gets_its_own_hits_in_order_over_many_blocks(town, monkeypatch):
    monkeypatch.setattr("ruri_kedro.search.bm25.index._HITS_PER_CALL", 6)
    found = list(search(town, ["海", "牛丼", "", "海"] * 5, 3, bm25()))
    assert [docids(hits) for hits in found] == [["sea"], ["cow"], [], ["sea"]] * 5
    assert list(search(town, [], 3, bm25())) == []


def test_manifest_counts_and_names_what_was_indexed(town, tmp_path):
    manifest = read_json(town / "manifest.json")
    assert {name: manifest[name] for name in ("key", "analyzer", "documents", "blank")} == {
        "key": "key",
        "analyzer": "ja",
        "documents": 5,
        "blank": 1,
    }
    build_index([*TOWN[:-1], ("none", "x")], tmp_path / "other", bm25(), "key")
    assert read_json(tmp_path / "other/manifest.json")["digest"] != manifest["digest"]


def test_an_index_of_the_same_key_is_kept_and_another_replaced(tmp_path):
    def unread():
        raise AssertionError("documents were read")
        yield

    build_index(TOWN, tmp_path / "index", bm25(), "one")
    build_index(unread(), tmp_path / "index", bm25(), "one")
    build_index([("new", "カレー")], tmp_path / "index", bm25(), "two")
    assert docids(*search(tmp_path / "index", ["カレー 海"], 5, bm25())) == ["new"]


def test_a_build_that_breaks_leaves_nothing_and_the_next_one_works(tmp_path):
    def broken():
        yield from TOWN
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        build_index(broken(), tmp_path / "index", bm25(), "key")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="index: there is no BM25 index"):
        search(tmp_path / "index", ["海"], 5, bm25())
    build_index(TOWN, tmp_path / "index", bm25(), "key")
    assert docids(*search(tmp_path / "index", ["海"], 5, bm25())) == ["sea"]


def test_a_half_written_index_is_not_searched(town, tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "lucene").symlink_to(town / "lucene")
    with pytest.raises(DataError, match="half: there is no BM25 index"):
        search(tmp_path / "half", ["海"], 5, bm25())


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


def test_an_index_of_another_analyser_is_refused(town):
    with pytest.raises(DataError, match="analyzer 'ja', not 'sudachi_a'"):
        search(town, ["海"], 5, bm25("sudachi_a"))


def test_no_hits_cannot_be_asked_for(town):
    with pytest.raises(RecipeError, match="k=0"):
        search(town, ["海"], 0, bm25())


@pytest.mark.parametrize(
    "change",
    [
        {"analyzer": "mecab"},
        {"engine": "tantivy"},
        {"k1": -0.1},
        {"k1": "low"},
        {"b": 1.1},
        {"threads": 0},
        {"heap_mb": 0},
    ],
)
def test_settings_without_a_meaning_are_refused(change):
    with pytest.raises(RecipeError, match=f"{next(iter(change))}.*{next(iter(change.values()))}"):
        given = {"analyzer": "ja", "k1": 0.9, "b": 0.4, "threads": 1, "heap_mb": 64, "engine": "lucene"}
        parse(BM25Settings, given | change, "bm25")


def test_a_folder_is_looked_for_where_the_process_is_now(tmp_path, monkeypatch):
    """Java keeps the working directory that the process had when Java started."""
    build_index([("a", "東京タワー")], tmp_path / "first", bm25(), "key")
    (tmp_path / "later").mkdir()
    monkeypatch.chdir(tmp_path / "later")
    build_index([("b", "琵琶湖")], Path("index"), bm25(), "key")
    assert [docid for docid, _ in next(iter(search(Path("index"), ["琵琶湖"], 1, bm25())))] == ["b"]
