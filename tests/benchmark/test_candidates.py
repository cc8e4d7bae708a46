"""Reranking tasks in their published forms, and JaColBERT's sampled collections; the texts are made up."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pytest import approx

from ruri_kedro.benchmark.scoring.evaluate import evaluate_reranking
from ruri_kedro.benchmark.scoring.models import Embedder, Reranker
from ruri_kedro.benchmark.tasks.judged_queries import judged_queries
from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.benchmark.tasks.load import test_texts as texts_of_task
from ruri_kedro.benchmark.tasks.reranking import RerankingTask
from ruri_kedro.errors import DataError, RecipeError

# The columns of hotchpotch/JQaRA, hotchpotch/JaCWIR (eval, collection), and of ESCI's queries and corpus in JMTEB.
JQARA = [
    {"q_id": f"QA-{q}", "question": f"問い{q}は何か", "answers": ["答え"], "passage_row_id": row, "title": f"題{row}",
     "text": f"本文{row}である。", "label": label}
    for q, rows in (("1", ((7, 1), (8, 0), (9, 0))), ("2", ((8, 1), (10, 1), (11, 0))))
    for row, label in rows
]  # fmt: skip
JACWIR = [{"query": "猫の飼い方", "positive": "p1", "negatives": ["p2", "p3"]}]
PAGES = [
    {"doc_id": f"p{i}", "title": f"題{i}", "description": f"説明{i}。", "link": "x", "date": "y"} for i in range(9)
]
ESCI = [{"query": "赤い靴", "retrieved_docs": ["b1", "b2", "b3"], "relevance_scores": [0, 3, 1]}]
GOODS = [{"docid": f"b{i}", "text": f"商品{i}"} for i in range(4)]
SPECS = {
    "jqara": {
        "type": "reranking", "shape": "pairs", "path": "jqara.parquet",
        "fields": {"qid": "q_id", "query": "question", "docid": "passage_row_id"},
    },
    "jacwir": {
        "type": "reranking", "shape": "lists", "path": "jacwir.parquet", "fields": {"positives": "positive",
        "negatives": "negatives"},
        "corpus": {"path": "pages.parquet", "fields": {"docid": "doc_id", "title": "title", "text": "description"}},
    },
    "esci": {
        "type": "reranking", "shape": "grades", "path": "esci.parquet",
        "fields": {"docids": "retrieved_docs", "grades": "relevance_scores"}, "corpus": {"path": "goods.parquet"},
    },
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    tables = {"jqara": JQARA, "jacwir": JACWIR, "pages": PAGES, "esci": ESCI, "goods": GOODS}
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def test_a_row_per_query_and_candidate(root):
    task = load_task("jqara", SPECS["jqara"], root)
    assert task == RerankingTask(
        "jqara",
        {"QA-1": "問い1は何か", "QA-2": "問い2は何か"},
        {str(row): f"題{row} 本文{row}である。" for row in (7, 8, 9, 10, 11)},
        {"QA-1": {"7": 1, "8": 0, "9": 0}, "QA-2": {"8": 1, "10": 1, "11": 0}},
        {"QA-1": ("7", "8", "9"), "QA-2": ("8", "10", "11")},
    )


def test_a_row_per_query_with_ids_of_pages(root):
    task = load_task("jacwir", SPECS["jacwir"], root)
    assert task.queries == {"0": "猫の飼い方"} and task.qrels == {"0": {"p1": 1, "p2": 0, "p3": 0}}
    assert task.corpus == {f"p{i}": f"題{i} 説明{i}。" for i in (1, 2, 3)}, "only the candidates are held"
    assert sorted(task.candidates["0"]) == ["p1", "p2", "p3"]


def test_a_row_per_query_with_grades(root):
    task = load_task("esci", SPECS["esci"], root)
    assert task.qrels == {"0": {"b1": 0, "b2": 3, "b3": 1}} and task.corpus["b2"] == "商品2"


def test_mined_negatives_stand_beside_the_queries(tmp_path):
    write(tmp_path / "dev.jsonl", [{"qid": "3", "query": "司会は誰", "positives": ["d1"], "negatives": ["d9"]}])
    write(tmp_path / "docs.jsonl", [{"docid": f"d{i}", "title": "題", "text": f"文{i}"} for i in range(6)])
    (tmp_path / "hard.json").write_text(
        json.dumps({"3": {"docids": ["d1", "d2", "d3", "d4"], "indices": [1, 2, 3, 4]}})
    )
    spec = {"type": "reranking", "shape": "mined", "queries": "queries", "path": "dev.jsonl",
            "corpus": {"path": "docs.jsonl"}, "negatives": {"path": "hard.json", "count": 3}}  # fmt: skip
    task = load_task("miracl", spec, tmp_path)
    assert task.qrels == {"3": {"d1": 1, "d2": 0, "d3": 0}}, "a positive among the negatives is a positive"


def test_three_forms_of_judged_queries_are_the_same(tmp_path):
    """Rows of docids, the rows of castorini/mr-tydi, and the TSV files of miracl/miracl."""
    write(tmp_path / "q.jsonl", [{"qid": "3", "query": "司会は誰", "positives": ["d1"], "negatives": ["d9"]}])
    passages = {f"{side}_passages": [{"docid": docid, "title": "", "text": "x"}]
                for side, docid in (("positive", "d1"), ("negative", "d9"))}  # fmt: skip
    write(tmp_path / "p.jsonl", [{"query_id": "3", "query": "司会は誰", **passages}])
    (tmp_path / "topics.ja-dev.tsv").write_text("3\t司会は誰\n", "utf-8")
    (tmp_path / "qrels.ja-dev.tsv").write_text("3\tQ0\td1\t1\n3\tQ0\td9\t0\n", "utf-8")
    found = {
        shape: [(row.qid, row.query, row.positives, row.negatives) for row in judged_queries(tmp_path, path, shape)]
        for shape, path in {"queries": "q.jsonl", "passages": "p.jsonl", "topics": "*-dev.tsv"}.items()
    }
    assert all(rows == [("3", "司会は誰", ("d1",), ("d9",))] for rows in found.values()), found
    with pytest.raises(DataError, match=r"a file topics.\* and a file qrels.\* are expected, found: topics"):
        list(judged_queries(tmp_path, "topics*.tsv", "topics"))


def test_pooled_recall_is_over_all_relevant_candidates():
    """As in the evaluation that Ruri's Table 5 used: found over relevant, of all queries together."""
    documents = {f"d{i:02}": "文" for i in range(40)}
    qrels = {"a": {"d00": 1, "d39": 0}, "b": {f"d{i:02}": 1 for i in range(36, 40)}}
    task = RerankingTask("t", {"a": "問", "b": "問"}, documents, qrels, dict.fromkeys("ab", tuple(documents)))
    run = {qid: {docid: -float(place) for place, docid in enumerate(documents)} for qid in "ab"}
    rows = {(row["metric"], row["query_id"]): row["score"] for row in evaluate_reranking("m", task, run)}
    assert rows["recall@30", "a"] == 1 and rows["recall@30", "b"] == 0
    assert rows["pooled_recall@30", ""] == approx(1 / 5)


def test_metrics_by_hand_for_the_order_of_a_reranker(root):
    """Of QA-2 the relevant candidates come first and last, of QA-1 the one comes second."""
    task = load_task("jqara", SPECS["jqara"], root)
    scores = {"題8": 3.0, "題11": 2.0, "題10": 1.0, "題7": 0.5, "題9": 0.1}
    candidates = {qid: dict.fromkeys(docids, 0.0) for qid, docids in task.candidates.items()}
    run = Reranker("m", lambda pairs: [scores[text.split()[0]] for _, text in pairs]).order(task, candidates)
    rows = {(row["metric"], row["query_id"]): row["score"] for row in evaluate_reranking("m", task, run)}
    assert rows["mrr@10", "QA-1"] == approx(1 / 2) and rows["map@10", "QA-2"] == approx((1 + 2 / 3) / 2)
    ideal = 1 + 1 / 1.584962500721156
    assert rows["ndcg@10", "QA-2"] == approx((1 + 1 / 2) / ideal)


def test_embedders_order_the_same_candidates(root, encode):
    task = load_task("jacwir", SPECS["jacwir"], root)
    candidates = {q: dict.fromkeys(d, 0.0) for q, d in task.candidates.items()}
    run = Embedder("m", encode).order(task, candidates)
    assert run.keys() == {"0"} and run["0"].keys() == {"p1", "p2", "p3"}


def test_only_relevant_candidates_are_positives_of_the_test(root):
    rows = [row for row in texts_of_task(load_task("jqara", SPECS["jqara"], root)) if row["role"] == "positive"]
    assert [(row["item_id"], row["text"]) for row in rows] == [
        ("QA-1", "題7 本文7である。"), ("QA-2", "題8 本文8である。"), ("QA-2", "題10 本文10である。"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("jqara", {"shape": "triples"}, "tasks.jqara.shape: 'triples' is not known. Allowed: pairs, lists"),
        ("jqara", {"fields": {"id": "q_id"}}, "tasks.jqara.fields.id: there is no such parameter. Allowed: qid"),
        ("jqara", {"corpus": {"path": "pages.parquet"}}, "tasks.jqara.corpus: there is no such parameter"),
        ("esci", {"fields": {"docids": "retrieved_docs"}}, "field 'grades': missing"),
        ("esci", {"corpus": {"path": "pages.parquet", "fields": {"docid": "doc_id", "text": "title"}}},
         "candidate 'b1' is not in pages.parquet"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(root, name, change, message):
    with pytest.raises((DataError, RecipeError)) as refused:
        load_task(name, SPECS[name] | change, root)
    assert message in str(refused.value)


def test_a_query_without_a_relevant_candidate_is_named(root):
    pq.write_table(pa.Table.from_pylist([row | {"label": 0} for row in JQARA]), root / "jqara.parquet")
    with pytest.raises(DataError, match=r"query 'QA-1': none of its candidates is relevant"):
        load_task("jqara", SPECS["jqara"], root)


@pytest.fixture
def collection(tmp_path):
    """200 passages, of which 20 have the text of another; three queries."""
    write(
        tmp_path / "corpus.jsonl",
        [{"docid": f"{i}#0", "title": f"題{i}", "text": f"文{i % 180}。"} for i in range(200)],
    )
    write(tmp_path / "queries.jsonl", [
        {"qid": "a", "query": "甲", "positives": ["3#0"]},
        {"qid": "b", "query": "乙", "positives": ["185#0", "7#0"], "negatives": ["150#0"]},
    ])  # fmt: skip
    return tmp_path


def sampled(root, rules):
    spec = {"type": "retrieval", "shape": "queries", "path": "queries.jsonl",
            "corpus": {"shape": "corpus", "path": "corpus.jsonl", "sampled": rules}}  # fmt: skip
    return load_task("mrtydi", spec, root)


def test_a_sampled_collection_is_the_one_of_the_published_code(collection):
    task = sampled(collection, {"random": 50, "seed": 42})
    random.seed(42)
    chosen = {*random.sample([f"{i}#0" for i in range(200)], 50), "3#0", "185#0", "7#0", "150#0"}
    texts = {f"文{int(docid[:-2]) % 180}。" for docid in chosen}
    assert set(task.corpus.values()) == texts and len(task.corpus) == len(texts), "texts only, each once"
    assert [task.corpus[docid] for docid in task.qrels["b"]] == ["文5。", "文7。"]


def test_mined_negatives_make_a_collection(collection):
    hard = {"a": {"docids": ["10#0", "11#0", "12#0"]}, "b": {"docids": ["11#0", "191#0", "13#0"]}}
    (collection / "hard.json").write_text(json.dumps(hard))
    task = sampled(collection, {"negatives": {"path": "hard.json", "count": 2}})
    assert set(task.corpus.values()) == {f"文{i}。" for i in (3, 5, 7, 150, 10, 11)}, "191 has the text of 11"


def test_more_than_there_are_cannot_be_drawn(collection):
    with pytest.raises(RecipeError, match=r"corpus.sampled.random': corpus.jsonl has only 200 passages"):
        sampled(collection, {"random": 201, "seed": 42})
