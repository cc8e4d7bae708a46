"""Test sets as other people publish them: ids, grades, labels and numbers that cannot be meant are named."""

import json

import pytest

from ruri_kedro.benchmark.runs import read_qrels
from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.errors import DataError

QUERY = {"qid": "1", "query": "山", "positives": ["d2"]}
DOCUMENTS = [{"docid": "d1", "title": "題", "text": "富士山"}, {"docid": "d2", "title": None, "text": "琵琶湖"}]
PAIR = {"qid": "1", "query": "山", "docid": "d1", "title": "", "text": "富士山", "label": 1}
CORPUS = {"shape": "corpus", "path": "c.jsonl"}
RERANKING = {"type": "reranking", "path": "p.jsonl", "corpus": {"path": "c.jsonl"}}
SPECS = {
    "queries": {"type": "retrieval", "shape": "queries", "path": "q.jsonl", "corpus": CORPUS},
    "passages": {"type": "retrieval", "shape": "passages", "path": "q.jsonl", "corpus": CORPUS},
    "topics": {"type": "retrieval", "shape": "topics", "path": "t/*", "corpus": CORPUS},
    "qa": {"type": "retrieval", "shape": "qa", "path": "q.jsonl"},
    "articles": {"type": "retrieval", "shape": "qa", "path": "q.jsonl",
                 "corpus": {"shape": "articles", "path": "a.jsonl"}},
    "sampled": {"type": "retrieval", "shape": "queries", "path": "q.jsonl",
                "corpus": {**CORPUS, "sampled": {"random": 1, "seed": 1}}},
    "pairs": {"type": "reranking", "shape": "pairs", "path": "p.jsonl"},
    "lists": {**RERANKING, "shape": "lists", "fields": {"qid": "qid"}},
    "grades": {**RERANKING, "shape": "grades", "fields": {"qid": "qid"}},
    "mined": {**RERANKING, "shape": "mined", "queries": "queries", "path": "q.jsonl",
              "negatives": {"path": "n.json", "count": 2}},
}  # fmt: skip
LISTS = {"qid": 1, "query": "山", "positives": ["d1"], "negatives": ["d2"]}
GRADES = {"qid": "1", "query": "山", "docids": ["d1", "d2"], "grades": [2, 0]}
PASSAGES = {"query_id": "1", "query": "山", "positive_passages": [{"docid": "d1"}], "negative_passages": []}
QA = {"qid": "1", "question": "山?", "context": "富士山", "title": None, "context_id": "c1"}
ARTICLE = {"article_id": "c", "title": None, "sections": [{"section": None, "paragraphs": ["富士山"]}]}
GOOD = {
    "q.jsonl": [QUERY], "c.jsonl": DOCUMENTS, "p.jsonl": [PAIR], "n.json": [{"1": {"docids": ["d1"]}}],
    "t/topics.tsv": "1\t山\n", "t/qrels.tsv": "1\tQ0\td2\t1\n1 0 d1 0\n", "a.jsonl": [ARTICLE],
}  # fmt: skip
OWN = {  # what a shape reads in place of GOOD's
    "passages": {"q.jsonl": [PASSAGES]}, "qa": {"q.jsonl": [QA]}, "lists": {"p.jsonl": [LISTS]},
    "articles": {"q.jsonl": [{**QA, "context_id": "c-0-0"}]}, "grades": {"p.jsonl": [GRADES]},
}  # fmt: skip


def load(folder, shape, files):
    for name, content in (GOOD | OWN.get(shape, {}) | files).items():
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return load_task("t", SPECS[shape], folder)


@pytest.mark.parametrize("shape", SPECS)
def test_the_forms_are_read_with_null_titles_and_byte_order_marks(tmp_path, shape):
    task = load(tmp_path, shape, {})
    assert len(task.queries) == 1 and task.corpus and any(any(found.values()) for found in task.qrels.values())
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_task("t", SPECS[shape], tmp_path) == task


@pytest.mark.parametrize(
    ("shape", "files", "message"),
    [
        # One id with two texts, or two grades.
        ("queries", {"q.jsonl": [QUERY, {**QUERY, "query": "川"}]}, r"q\.jsonl, row 2, field 'qid': '1' occurs twice"),
        ("queries", {"c.jsonl": [*DOCUMENTS, DOCUMENTS[0]]}, r"c\.jsonl, row 3, field 'docid': 'd1' occurs twice"),
        ("topics", {"t/topics.tsv": "1\t山\n1\t川\n"}, r"topics\.tsv, row 2, field 'qid': '1' occurs twice"),
        ("topics", {"t/qrels.tsv": "1\t0\td2\t1\n1\t0\td2\t0\n"}, r"qrels\.tsv, row 2: query '1' has document 'd2' tw"),
        ("pairs", {"p.jsonl": [PAIR, {**PAIR, "docid": "d2", "query": "川"}]},
         r"p\.jsonl, row 2, field 'qid': '1' stands for two different texts"),
        ("pairs", {"p.jsonl": [PAIR, {**PAIR, "qid": "2", "text": "別"}]}, r"row 2, field 'docid': 'd1' stands for"),
        ("pairs", {"p.jsonl": [PAIR, {**PAIR, "label": 0}]}, r"p\.jsonl, row 2, field 'docid': 'd1' occurs twice"),
        ("grades", {"p.jsonl": [{**GRADES, "docids": ["d1", "d1"]}]}, r"row 1, field 'docids': 'd1' occurs twice"),
        ("lists", {"p.jsonl": [LISTS, {**LISTS, "query": "川"}]}, r"p\.jsonl, row 2, field 'qid': '1' occurs twice"),
        ("qa", {"q.jsonl": [QA, {**QA, "qid": "2", "context": "別"}]}, r"row 2, field 'context_id': 'c1' stands for"),
        ("articles", {"a.jsonl": [ARTICLE, ARTICLE]}, r"a\.jsonl, row 2, field 'sections 0-0': 'c-0-0' occurs twice"),
        ("sampled", {"c.jsonl": [*DOCUMENTS, {**DOCUMENTS[1], "text": "別"}]}, r"row 3, field 'docid': 'd2' occurs tw"),
        ("mined", {"n.json": '{"1": {"docids": []}, "1": {"docids": ["d1"]}}'}, r"n\.json, row 1: the key '1' stands"),
        # Ids that a file of TREC's form cannot hold.
        ("queries", {"q.jsonl": [{**QUERY, "qid": "q 0"}]}, r"q\.jsonl, row 1, field 'qid': 'q 0' is empty or has whi"),
        ("queries", {"q.jsonl": [{**QUERY, "qid": ""}]}, r"q\.jsonl, row 1, field 'qid': '' is empty or has white"),
        ("queries", {"q.jsonl": [{**QUERY, "qid": "q\u3000"}]}, r"q\.jsonl, row 1, field 'qid': 'q\u3000' is empty or"),
        ("queries", {"q.jsonl": [{**QUERY, "positives": ["d2", " "]}]}, r"row 1, field 'positives': a list of ids is"),
        ("queries", {"c.jsonl": [{**DOCUMENTS[0], "docid": "d 1"}]}, r"c\.jsonl, row 1, field 'docid': 'd 1' is empty"),
        ("passages", {"q.jsonl": [{**PASSAGES, "query_id": "q 0"}]}, r"q\.jsonl, row 1, field 'query_id': 'q 0' is em"),
        ("topics", {"t/topics.tsv": "q 1\t山\n"}, r"topics\.tsv, row 1, field 'qid': 'q 1' is empty or has white"),
        ("qa", {"q.jsonl": [{**QA, "context_id": "c 1"}]}, r"q\.jsonl, row 1, field 'context_id': 'c 1' is empty or"),
        ("articles", {"a.jsonl": [{**ARTICLE, "article_id": "a b"}]}, r"a\.jsonl, row 1, field 'article_id': 'a b' is"),
        ("pairs", {"p.jsonl": [{**PAIR, "docid": "d\t1"}]}, r"p\.jsonl, row 1, field 'docid': 'd\t1' is empty or has"),
        ("lists", {"p.jsonl": [{**LISTS, "negatives": ["d 2"]}]}, r"p\.jsonl, row 1, field 'negatives': 'd 2' is"),
        ("grades", {"p.jsonl": [{**GRADES, "qid": " "}]}, r"p\.jsonl, row 1, field 'qid': ' ' is empty or has white"),
        # Judgments.
        ("topics", {"t/qrels.tsv": "query-id\tQ0\tcorpus-id\tscore\n1\t0\td2\t1\n"}, r"qrels\.tsv, row 1, column 'relev"
         r"ance': 'score' given, a whole number.*or remove it if it names the columns"),
        ("topics", {"t/qrels.tsv": "1\t0\td2\t1.0\n"}, r"qrels\.tsv, row 1, column 'relevance': '1\.0' given, a whole"),
        ("topics", {"t/qrels.tsv": "1\td2\t1\n"}, r"qrels\.tsv, row 1: 3 columns, expected 4"),
        ("pairs", {"p.jsonl": [{**PAIR, "label": 0.5}]}, r"p\.jsonl, row 1, field 'label': '0\.5' given, a whole"),
        ("pairs", {"p.jsonl": [{**PAIR, "label": 10**14}]}, r"field 'label': '100000000000000' is out of range"),
        ("pairs", {"p.jsonl": [{**PAIR, "label": float("nan")}]}, r"field 'label': nan is not a finite number"),
        ("pairs", {"p.jsonl": [{**PAIR, "label": "E"}]}, r"field 'label': str given \('E'\), int or float expected"),
        ("grades", {"p.jsonl": [{**GRADES, "grades": ["E", "I"]}]}, r"p\.jsonl, row 1, field 'grades': 'E' given, a"),
        ("grades", {"p.jsonl": [{**GRADES, "grades": [0.5, 1]}]}, r"p\.jsonl, row 1, field 'grades': '0\.5' given, a"),
        ("grades", {"p.jsonl": [{**GRADES, "grades": [True, 0]}]}, r"field 'grades': 'True' given, a whole number"),
        ("grades", {"p.jsonl": [{**GRADES, "grades": [None, 1]}]}, r"field 'grades': 'None' given, a whole number"),
        ("grades", {"p.jsonl": [{**GRADES, "grades": [1]}]}, r"p\.jsonl, row 1: 2 in 'docids', 1 in 'grades'"),
        ("grades", {"p.jsonl": [{**GRADES, "docids": ["d1", None]}]}, r"row 1, field 'docids': a list of ids is expec"),
        # Passages and mined negatives.
        ("passages", {"q.jsonl": [{**PASSAGES, "positive_passages": [{"text": "x"}]}]},
         r"q\.jsonl, row 1, field 'positive_passages': each passage needs a 'docid'"),
        ("passages", {"q.jsonl": [{**PASSAGES, "negative_passages": [None]}]}, r"field 'negative_passages': each"),
        ("passages", {"q.jsonl": [{**PASSAGES, "positive_passages": [{"docid": None}]}]}, r"a list of ids is expected"),
        ("mined", {"n.json": "[1]"}, r"n\.json, row 1: a int where a JSON object is expected"),
        ("mined", {"n.json": '{"1": ["d1"]}'}, r"n\.json, row 1, query '1': an object with a list 'docids'"),
        ("mined", {"n.json": '{"1": {"docids": "d1"}}'}, r"n\.json, row 1, field '1\.docids': a list of ids"),
        ("mined", {"n.json": '{"1": {"docids": ["d1"]'}, r"n\.json, row 1: not JSON"),
        ("queries", {"c.jsonl": [{**DOCUMENTS[0], "text": None}]}, r"c\.jsonl, row 1, field 'text': NoneType given"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_file_and_row(tmp_path, shape, files, message):
    with pytest.raises(DataError, match=message):
        load(tmp_path, shape, files)


def test_mined_negatives_that_are_not_there_are_named(tmp_path):
    load(tmp_path, "mined", {})
    (tmp_path / "n.json").unlink()
    with pytest.raises(DataError, match=r"n\.json: no such file"):
        load_task("t", SPECS["mined"], tmp_path)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_numbers_in_tables_are_text(tmp_path, separator):
    name = "f.csv" if separator == "," else "f.tsv"

    def task(lines, **spec):
        (tmp_path / name).write_text("\n".join(lines).replace(",", separator), encoding="utf-8")
        return load_task("t", {"path": name, **spec}, tmp_path)

    sts = task(["text1,text2,score", "犬,猫,1.5", "山,川,3"], type="sts")
    assert sts.scores == (1.5, 3.0)
    with pytest.raises(DataError, match=rf"{name}, row 3, field 'score': str given \('high'\), int or float expected"):
        task(["text1,text2,score", "犬,猫,1.5", "山,川,high"], type="sts")
    header = "qid,query,docid,title,text,label"
    pairs = task([header, "1,山,1,,富士山,1", "1,山,2,,湖,0.0"], type="reranking", shape="pairs")
    assert pairs.qrels == {"1": {"1": 1, "2": 0}}
    for positive in ([1], ["1"]):
        pair = task(["text1,text2,label", "犬,猫,1", "山,川,0"], type="pair", positive=positive)
        assert pair.labels == (1, 0)


def test_labels_may_be_truth_values(tmp_path):
    def task(rows, **spec):
        (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return load_task("t", {"path": "f.jsonl", **spec}, tmp_path)

    pairs = [{"text1": "犬", "text2": "猫", "label": True}, {"text1": "山", "text2": "川", "label": False}]
    for positive in ([True], ["true"]):
        assert task(pairs, type="pair", positive=positive).labels == (1, 0)
    texts = [{"text": "犬", "label": True}, {"text": "山", "label": False}]
    assert task(texts, type="classification", train="f.jsonl").test_labels == ("true", "false")
    assert task(texts, type="clustering").labels == ("true", "false")
    many = [{"text": "犬", "labels": [True, 1, "a"]}, {"text": "山", "labels": []}]
    assert task(many, type="multilabel", train="f.jsonl").test_labels == (("1", "a", "true"), ())


@pytest.mark.parametrize("labels", [["a", None], [["a"]], [{"a": 1}], [0.5]])
def test_what_is_not_a_label_is_named(tmp_path, labels):
    rows = [{"text": "犬", "labels": ["a"]}, {"text": "猫", "labels": labels}]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"f\.jsonl, row 2, field 'labels': each label is a text, a whole number or"):
        load_task("t", {"type": "multilabel", "train": "f.jsonl", "path": "f.jsonl"}, tmp_path)
    (tmp_path / "f.jsonl").write_text(json.dumps({"text": "犬", "label": None}), encoding="utf-8")
    with pytest.raises(DataError, match=r"f\.jsonl, row 1, field 'label': NoneType given"):
        load_task("t", {"type": "clustering", "path": "f.jsonl"}, tmp_path)


@pytest.mark.parametrize(
    "relevance", ["99999999999999", "1001", "-1001", "--1", "1.0", "+-1", "٣", "1_0", "yes", "1e3"]
)
def test_a_relevance_that_cannot_be_counted_with_is_named(tmp_path, relevance):
    (tmp_path / "q.trec").write_text(f"q1 0 d1 1\nq1 0 d2 {relevance}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"q\.trec, row 2, column 'relevance': '.*' (is out of range|given, a whole)"):
        read_qrels(tmp_path / "q.trec")


def test_relevance_may_be_negative_and_signed(tmp_path):
    (tmp_path / "q.trec").write_text("q1 0 d1 -1\nq1 0 d2 +2\nq1 0 d3 1000\n", encoding="utf-8")
    assert read_qrels(tmp_path / "q.trec") == {"q1": {"d1": -1, "d2": 2, "d3": 1000}}
