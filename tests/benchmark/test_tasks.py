"""Tasks: every type and shape is read as it is described, and what does not fit is named."""

import re

import pytest

from ruri_kedro.benchmark.tasks import load as tasks
from ruri_kedro.benchmark.tasks.bitext import BitextTask
from ruri_kedro.benchmark.tasks.classification import ClassificationTask
from ruri_kedro.benchmark.tasks.clustering import ClusteringTask
from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.benchmark.tasks.multilabel import MultilabelTask
from ruri_kedro.benchmark.tasks.pair import PairTask
from ruri_kedro.benchmark.tasks.retrieval import RetrievalTask
from ruri_kedro.benchmark.tasks.sts import StsTask
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables.schema import TEST_TEXTS
from ruri_kedro.tables.store import to_batch

QA = {"type": "retrieval", "shape": "qa", "path": "qa.jsonl.gz"}
STS = {"type": "sts", "path": "sts.jsonl"}
CLASSES = {"type": "classification", "train": "train.jsonl", "path": "test.jsonl"}
CLUSTERS = {"type": "clustering", "path": "clusters.jsonl"}
PAIRS = {"type": "pair", "path": "clusters.jsonl", "fields": {"text1": "text", "text2": "text"}}


def question(qid: str, context_id: str, context: str, title: str = "題", text: str = "何？") -> dict:
    return {"qid": qid, "question": text, "context": context, "title": title, "context_id": context_id}


def test_questions_search_their_own_paragraphs(write_jsonl, tmp_path):
    rows = [
        question("a", "c1", "梅雨 [SEP] 雨の　多い [SEP] 期間。", title="（別）", text="梅雨とは？ "),
        question("b", "c2", "パリは首都。", title="ﾊﾟﾘ"),
        question("c", "c2", "パリは首都。", title="ﾊﾟﾘ"),
    ]
    write_jsonl("qa.jsonl.gz", rows)
    assert load_task("qa", QA, tmp_path) == RetrievalTask(
        "qa",
        {"a": "梅雨とは?", "b": "何?", "c": "何?"},
        {"c1": "梅雨 雨の 多い [SEP] 期間。", "c2": "パリ パリは首都。"},
        {"a": {"c1": 1}, "b": {"c2": 1}, "c": {"c2": 1}},
    )


def test_questions_search_articles(write_jsonl, tmp_path):
    sections = [
        {"section": "", "paragraphs": ["東京は首都。"]},
        {"section": "歴史", "paragraphs": ["江戸。", "明治。"]},
    ]
    article = {"article_id": "t", "title": "東京", "abstract": "要約。", "sections": sections, "category": "place"}
    write_jsonl("articles.jsonl.gz", [article])
    write_jsonl("qa.jsonl.gz", [{"qid": "a", "question": "首都は？", "context_id": "t-1-0"}])
    task = load_task("qa", {**QA, "corpus": {"path": "articles.jsonl.gz", "shape": "articles"}}, tmp_path)
    assert task.corpus == {"t-0-0": "東京 東京は首都。", "t-1-0": "東京 歴史 江戸。", "t-1-1": "東京 歴史 明治。"}
    assert task.qrels == {"a": {"t-1-0": 1}}


def test_judged_queries_search_a_corpus(write_jsonl, tmp_path):
    write_jsonl("corpus/1.jsonl", [{"docid": "d1", "title": "", "text": "地震。"}])
    write_jsonl("corpus/2.jsonl", [{"docid": "d2", "title": "大雨", "text": "警報。"}])
    write_jsonl("queries.jsonl", [{"qid": "q", "query": "災害", "positives": ["d2", "d1"], "negatives": []}])
    spec = {"type": "retrieval", "shape": "queries", "path": "queries.jsonl"}
    task = load_task("news", {**spec, "corpus": {"shape": "corpus", "path": "corpus"}}, tmp_path)
    assert task == RetrievalTask(
        "news", {"q": "災害"}, {"d1": "地震。", "d2": "大雨 警報。"}, {"q": {"d2": 1, "d1": 1}}
    )


def test_sts_takes_the_names_of_its_fields(write_jsonl, tmp_path):
    write_jsonl("sts.jsonl", [{"A": "犬　が走る", "B": "犬が歩く", "score": 3}, {"A": "雨", "B": "雪", "score": 0.5}])
    task = load_task("sts", {**STS, "fields": {"text1": "A", "text2": "B"}}, tmp_path)
    assert task == StsTask("sts", ("犬 が走る", "雨"), ("犬が歩く", "雪"), (3.0, 0.5))


def test_classification_has_two_parts_and_labels_as_strings(write_jsonl, tmp_path):
    write_jsonl("train.jsonl", [{"text": "良い", "label": 1}, {"text": "悪い", "label": 0}])
    write_jsonl("test.jsonl", [{"text": "普通", "label": 1}])
    task = load_task("pn", CLASSES, tmp_path)
    assert task == ClassificationTask("pn", ("良い", "悪い"), ("1", "0"), ("普通",), ("1",))


def test_pairs_belong_together_by_the_labels_that_are_named(write_jsonl, tmp_path):
    rows = [("犬　が走る", "動物が走る", "entailment"), ("雨", "晴れ", "contradiction"), ("山", "川", "neutral")]
    write_jsonl("nli.jsonl", [dict(zip(("premise", "hypothesis", "label"), row, strict=True)) for row in rows])
    fields = {"text1": "premise", "text2": "hypothesis"}
    task = load_task(
        "nli", {"type": "pair", "path": "nli.jsonl", "fields": fields, "positive": ["entailment"]}, tmp_path
    )
    assert task == PairTask("nli", ("犬 が走る", "雨", "山"), ("動物が走る", "晴れ", "川"), (1, 0, 0))
    write_jsonl("numbers.jsonl", [{"text1": "あ", "text2": "い", "label": label} for label in (-1, 0, 1)])
    task = load_task("par", {"type": "pair", "path": "numbers.jsonl", "positive": [0, 1]}, tmp_path)
    assert task.labels == (0, 1, 1)


def test_a_text_may_have_several_labels_or_none(write_jsonl, tmp_path):
    write_jsonl("train.jsonl", [{"text": "雨の試合", "labels": ["b", "a", "b"]}])
    write_jsonl("test.jsonl", [{"text": "無題", "labels": []}, {"text": "雨", "labels": ["a"]}])
    task = load_task("topics", {"type": "multilabel", "train": "train.jsonl", "path": "test.jsonl"}, tmp_path)
    assert task == MultilabelTask("topics", ("雨の試合",), (("a", "b"),), ("無題", "雨"), ((), ("a",)))
    with pytest.raises(DataError, match=r"task 'topics': no text of none\.jsonl has a label"):
        write_jsonl("none.jsonl", [{"text": "無題", "labels": []}])
        load_task("topics", {"type": "multilabel", "train": "none.jsonl", "path": "test.jsonl"}, tmp_path)


def test_translations_stand_side_by_side(write_jsonl, tmp_path):
    write_jsonl("bitext.jsonl", [{"text1": "雨だ。", "text2": "It rains.", "label": 1}])
    assert load_task("t", {"type": "bitext", "path": "bitext.jsonl"}, tmp_path) == BitextTask(
        "t", ("雨だ。",), ("It rains.",)
    )


def test_clustering_joins_fields(write_jsonl, tmp_path):
    write_jsonl(
        "clusters.jsonl", [{"title": "題", "text": "本文", "kind": "x"}, {"title": "", "text": "続き", "kind": "y"}]
    )
    spec = {**CLUSTERS, "fields": {"text": ["title", "text"], "label": "kind"}}
    assert load_task("news", spec, tmp_path) == ClusteringTask("news", ("題 本文", "続き"), ("x", "y"))


def test_a_sample_is_the_same_each_time_and_keeps_the_order(write_jsonl, tmp_path):
    write_jsonl("clusters.jsonl", [{"text": f"文{i:02}", "label": i % 3} for i in range(50)])
    task = load_task("news", {**CLUSTERS, "sample": 10, "seed": 1}, tmp_path)
    assert len(task.texts) == 10
    assert list(task.texts) == sorted(task.texts)
    assert all(int(text[1:]) % 3 == int(label) for text, label in zip(task.texts, task.labels, strict=True))
    assert task == load_task("news", {**CLUSTERS, "sample": 10, "seed": 1}, tmp_path)
    assert task != load_task("news", {**CLUSTERS, "sample": 10, "seed": 2}, tmp_path)
    assert len(load_task("news", {**CLUSTERS, "sample": 99, "seed": 2}, tmp_path).texts) == 50


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "search"}, r"\.type: 'search' is not known\. Allowed: bitext, classification, clustering"),
        ({}, r"\.type: missing\. Allowed: bitext, classification"),
        ({"tpye": "sts"}, r"\.tpye: there is no such parameter\. Did you mean type\?"),
        ({**QA, "shape": "squad"}, r"\.shape: 'squad' is not known\. Allowed: qa, queries"),
        ({**QA, "shape": "queries"}, r"\.corpus: missing"),
        (
            {**QA, "corpus": {"path": "x", "shape": "wiki"}},
            r'\.corpus\.shape: "wiki" is given, expected is \'qa\'',
        ),
        ({**QA, "corpus": {"shape": "qa"}}, r"\.corpus\.path: missing, and there is no hub either"),
        ({**QA, "corpus": "x"}, r'\.corpus: "x" is given, expected is'),
        ({**STS, "split": "test"}, r"\.split: there is no such parameter\. Allowed: path, hub, type, fields"),
        ({**STS, "path": 3}, r"\.path: 3 is given, expected is a valid string"),
        ({**STS, "path": None}, r"\.path: missing, and there is no hub either"),
        ({**STS, "hub": {"id": "x", "revison": "y"}}, r"\.hub\.revison: there is no such .* Did you mean revision\?"),
        ({**STS, "fields": {"scores": "x"}}, r"\.fields\.scores: there is no such parameter\. Did you mean score\?"),
        ({"type": "classification", "path": "x"}, r"\.train: missing"),
        ({**CLUSTERS, "type": "pair"}, r"\.positive: missing"),
        ({**PAIRS, "positive": "x"}, r'\.positive: "x" is given, expected is'),
        ({**CLUSTERS, "type": "bitext", "fields": {"label": "label"}}, r"\.fields\.label: there is no such parameter"),
        ({**CLUSTERS, "fields": {"text": []}}, r"\.fields\.text: the name of a field is expected"),
        ({**CLUSTERS, "fields": {"label": ["a"]}}, r"\.fields\.label: the name of a field is expected"),
        ({**CLUSTERS, "sample": 5}, r"\.sample: a `seed` is missing"),
        ({**CLUSTERS, "sample": 0, "seed": 1}, r"\.sample: 0 is given, expected is greater than or equal to 1"),
        ({**CLUSTERS, "sample": True, "seed": 1}, r"\.sample: true is given, expected is a valid integer"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_before_a_file_is_opened(tmp_path, spec, message):
    with pytest.raises(RecipeError, match=rf"(?m)^tasks\.demo{message}"):
        load_task("demo", spec, tmp_path)


@pytest.mark.parametrize("positive", [[], ["y"], ["x"]])
def test_the_positive_labels_are_some_of_those_in_the_file(write_jsonl, tmp_path, positive):
    write_jsonl("clusters.jsonl", [{"text": "文", "label": "x"}])
    said = rf"task 'demo', key 'positive': {re.escape(str(positive))}; name some, not all, of the labels in clusters"
    with pytest.raises(RecipeError, match=said):
        load_task("demo", {**PAIRS, "positive": positive}, tmp_path)


QUERIES = {"type": "retrieval", "shape": "queries", "path": "q.jsonl", "corpus": {"path": "d.jsonl", "shape": "corpus"}}
ARTICLES = {**QA, "path": "q.jsonl", "corpus": {"path": "d.jsonl", "shape": "articles"}}
DOC = {"docid": "d1", "title": "", "text": "文。"}


def query(*positives, text: str = "文") -> dict:
    return {"qid": "q1", "query": text, "positives": list(positives)}


@pytest.mark.parametrize(
    ("queries", "documents", "message"),
    [
        ([query("d9")], [DOC], r"task 'demo', query 'q1': its positive 'd9' is not in the corpus \(d\.jsonl\)"),
        ([query()], [DOC], r"q\.jsonl, row 1, field 'positives': query 'q1'"),
        ([query(1.5)], [DOC], r"q\.jsonl, row 1, field 'positives': a list of ids is expected"),
        ([query("d1"), query("d1")], [DOC], r"q\.jsonl, row 2, field 'qid': 'q1' occurs twice"),
        ([query("d1")], [DOC, DOC], r"d\.jsonl, row 2, field 'docid': 'd1' occurs twice"),
        ([query("d1", text="\u200b")], [DOC], r"q\.jsonl, row 1, field 'query': no text is left"),
    ],
)
def test_a_judged_query_that_does_not_fit_is_named(write_jsonl, tmp_path, queries, documents, message):
    write_jsonl("q.jsonl", queries)
    write_jsonl("d.jsonl", documents)
    with pytest.raises(DataError, match=message):
        load_task("demo", QUERIES, tmp_path)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("文", "field 'sections', item 0: needs 'section'"),
        ({"section": "歴史", "paragraphs": ["文", 3]}, "field 'sections', item 0: needs 'section'"),
        ({"paragraphs": ["文"]}, "field 'sections', item 0: needs 'section'"),
        ({"section": "歴史", "paragraphs": ["文", " "]}, "field 'sections 0-1': no text is left"),
    ],
)
def test_an_article_that_does_not_fit_is_named(write_jsonl, tmp_path, section, message):
    write_jsonl("q.jsonl", [{"qid": "a", "question": "何？", "context_id": "t-0-0"}])
    write_jsonl("d.jsonl", [{"article_id": "t", "title": "題", "sections": [section]}])
    with pytest.raises(DataError, match=rf"d\.jsonl, row 1, {message}"):
        load_task("demo", ARTICLES, tmp_path)


@pytest.mark.parametrize(
    ("spec", "rows", "message"),
    [
        (QA, [question("a", "c", "文。"), question("b", "c", "別。")], "row 2, field 'context_id': 'c' stands for two"),
        (QA, [{**question("a", "c", "文。"), "section": 1}], "row 1, field 'section': int given"),
        (STS, [{"text1": "文", "text2": "文", "score": float("nan")}], "row 1, field 'score': nan is not a finite"),
        (STS, [{"text1": "文", "text2": "文"}], "row 1, field 'score': missing"),
        (STS, [{"text1": "文", "text2": "文", "score": 1}], "task 'demo': all scores of q.jsonl are 1.0"),
        (CLUSTERS, [{"text": "文", "label": 1.5}], "row 1, field 'label': float given"),
        ({**CLASSES, "train": "q.jsonl"}, [{"text": "文", "label": 1}], "task 'demo': all labels of q.jsonl are '1'"),
    ],
)
def test_a_row_that_does_not_fit_is_named(write_jsonl, tmp_path, spec, rows, message):
    write_jsonl("q.jsonl", rows)
    with pytest.raises(DataError, match=message):
        load_task("demo", {**spec, "path": "q.jsonl"}, tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"sts\.jsonl: no such file"):
        load_task("demo", STS, tmp_path)


def test_texts_of_a_retrieval_task(capitals):
    rows = list(tasks.test_texts(capitals))
    assert rows[:2] == [
        {"test": "capitals", "role": "query", "item_id": "q1", "text": "日本の首都は?"},
        {"test": "capitals", "role": "positive", "item_id": "q1", "text": "日本の首都は東京です。"},
    ]
    assert {row["item_id"]: row["text"] for row in rows if row["role"] == "passage"} == capitals.corpus
    assert len(rows) == 3 + 3 + 4
    assert to_batch(rows, TEST_TEXTS).num_rows == 10


@pytest.mark.parametrize(
    ("task", "texts"),
    [
        (StsTask("t", ("犬", "猫"), ("猫", "鳥"), (1.0, 2.0)), ["犬", "猫", "鳥"]),
        (ClassificationTask("t", ("訓練",), ("0",), ("試験", "試験"), ("0", "1")), ["試験"]),
        (ClusteringTask("t", ("記事", "別"), ("a", "b")), ["記事", "別"]),
        (PairTask("t", ("犬", "雨"), ("猫", "犬"), (1, 0)), ["犬", "雨", "猫"]),
        (BitextTask("t", ("犬",), ("a dog",)), ["犬", "a dog"]),
        (MultilabelTask("t", ("訓練",), (("a",),), ("試験",), ((),)), ["試験"]),
    ],
)
def test_texts_of_other_tasks_are_those_of_the_test_part(task, texts):
    rows = list(tasks.test_texts(task))
    assert [row["text"] for row in rows] == texts
    assert {(row["test"], row["role"]) for row in rows} == {("t", "text")}
    assert len({row["item_id"] for row in rows}) == len(rows)
    assert to_batch(rows, TEST_TEXTS).num_rows == len(texts)


def test_real_tasks_have_the_sizes_of_their_description(shared_data):
    jsquad = load_task("jsquad", {**QA, "path": "ja/jsquad/valid.jsonl.gz"}, shared_data)
    assert (len(jsquad.queries), len(jsquad.corpus)) == (4442, 1145)
    assert jsquad.corpus["a10336p0"].startswith("梅雨 梅雨(つゆ、ばいう)は、北海道と")
    assert not any("[SEP]" in text for text in jsquad.corpus.values())
    folder = "ja/wikinews_headline"
    corpus = {"path": f"{folder}/corpus.jsonl.gz", "shape": "corpus"}
    news = load_task("wikinews", {**QUERIES, "path": f"{folder}/queries.jsonl.gz", "corpus": corpus}, shared_data)
    assert (len(news.queries), len(news.corpus)) == (3670, 3670)
    fields = {"text1": "sentence_A_Ja", "text2": "sentence_B_Ja", "score": "relatedness"}
    jsick = load_task("jsick", {**STS, "path": "ja/jsick/test.jsonl.gz", "fields": fields}, shared_data)
    assert (len(jsick.texts1), min(jsick.scores), max(jsick.scores)) == (4927, 1.0, 5.0)
