"""What a source's files and parameters may hold besides texts: odd values, nulls, ids, names with dots."""

import json

import pytest

from ruri_kedro.corpora.fields import MISSING, top_level, unfold, value_at
from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.rows import check_sources, read_source
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError, RecipeError

EDIT = {"kind": "edit", "path": "rows.jsonl"}
NLI = {"kind": "premise_to_hypothesis", "path": "rows.jsonl"}


def write(folder, name, *rows):
    text = "".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


def read(folder, **row):
    sources = parse_sources({"s": row})
    check_sources(sources, folder)
    return [found for place in sources["s"].inputs for found in read_source(sources["s"], folder, place)]


def edits(**columns):
    return [
        {"text1": f"文{n}", "text2": f"句{n}", **dict(zip(columns, values, strict=True))}
        for n, values in enumerate(zip(*columns.values(), strict=True))
    ]


@pytest.mark.parametrize(
    ("values", "chosen", "kept"),
    [
        (["a", None, "b"], {"where": {"x": "a"}}, [0]),
        (["a", None, "b"], {"where": {"x": ["a", None]}}, [0, 1]),
        ([1, 2.0, None], {"where": {"x": 2}}, [1]),
        ([True, None, False], {"where": {"x": True}}, [0]),
        (["N1", None, "M"], {"exclude": {"x": "^N"}}, [1, 2]),
        ([None, None, "None"], {"exclude": {"x": "None"}}, [0, 1]),
        ([[], None, ["N"]], {"exclude": {"x": "N"}}, [0, 1]),
    ],
)
def test_null_is_not_selected_and_matches_no_pattern(tmp_path, values, chosen, kept):
    write(tmp_path, "rows.jsonl", *edits(x=values))
    assert [row["text1"] for row in read(tmp_path, **EDIT, **chosen)] == [f"文{n}" for n in kept]


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({"drop_lowest": {"score": 0.4}}, ["乙", "丙"]),
        ({"where": {"score": 0.9}}, ["丙"]),
        ({"where": {"score": [0.1, 0.5]}}, ["甲", "乙"]),
        ({"where": {"ok": True}}, ["甲", "丙"]),
        ({"where": {"score": "0.50"}}, ["乙"]),
    ],
)
def test_numbers_and_truth_values_of_tables_are_text(tmp_path, separator, chosen, kept):
    name = "rows.csv" if separator == "," else "rows.tsv"
    lines = ["text1,text2,score,ok", "甲,x,0.1,true", "乙,x,0.50,FALSE", "丙,x,9e-1,True", ""]
    write(tmp_path, name, "\n".join(lines).replace(",", separator))
    assert [row["text1"] for row in read(tmp_path, kind="edit", path=name, **chosen)] == kept


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "high", None, True])
def test_what_is_not_a_number_cannot_be_the_lowest(tmp_path, value):
    write(tmp_path, "rows.jsonl", *edits(h=[0.5, 0.1, 0.3, value]))
    with pytest.raises(DataError, match=r"rows\.jsonl, row 4, field 'h': .*(not a finite number|expected)"):
        read(tmp_path, **EDIT, drop_lowest={"h": 0.2})


def test_a_name_that_holds_a_path_comes_before_one_that_it_leads_through():
    row = {"a.b": 1, "a": {"b": 2, "c.d": {"e": 3}, "l": [{"x.y": 4}]}, "m.n": {"o": 5}, "p[]": 6}
    assert value_at(row, "a.b") == 1 and value_at(row, "a.c.d.e") == 3 and value_at(row, "m.n.o") == 5
    assert value_at(row, "a.l[].x.y") == [4] and value_at(row, "p[]") == 6
    assert value_at(row, "a.b.c") is MISSING and value_at({"a": 3}, "a[].b") is MISSING
    assert {"m", "m.n"} <= top_level(["m.n.o"])
    assert list(unfold({"a.b": [1, 2], "a": {"b": 3}}, ["a.b"])) == [{"a.b": n, "a": {"b": 3}} for n in (1, 2)]


def test_a_column_with_a_dot_is_read_from_every_form(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"question": "高さは？", "answers.text": "三千", "ctx": "標高は三千です。"}
    write(tmp_path, "f.jsonl", row)
    write(tmp_path, "f.csv", ",".join(row) + "\n" + ",".join(row.values()) + "\n")
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "f.parquet")
    for name in ("f.jsonl", "f.csv", "f.parquet"):
        fields = {"text": "ctx", "answers": "answers.text"}
        (found,) = read(tmp_path, kind="question_to_passage", path=name, fields=fields)
        assert found["answers"] == ["三千"], name


@pytest.mark.parametrize("value", [{"a": 1}, "text", 3, True])
def test_only_lists_are_unfolded(tmp_path, value):
    write(tmp_path, "rows.jsonl", {"data": [{"text1": "甲", "text2": "乙"}]}, {"data": value})
    fields = {"text1": "data.text1", "text2": "data.text2"}
    with pytest.raises(DataError, match=r"rows\.jsonl, row 2, field 'data': \w+ given, list expected"):
        read(tmp_path, **EDIT, unfold=["data"], fields=fields)


def test_labels_may_be_truth_values(tmp_path):
    rows = [{"premise": "犬が走る。", "hypothesis": f"文{n}", "label": n < 1} for n in range(2)]
    write(tmp_path, "rows.jsonl", *rows)
    sources = parse_sources({"s": {**NLI, "labels": {True: "entailment", False: "contradiction"}}})
    assert sources["s"].labels == {"true": "entailment", "false": "contradiction"}
    assert [row["label"] for row in read(tmp_path, **NLI)] == [True, False]
    write(tmp_path, "rows.jsonl", rows[0], {**rows[1], "label": None})
    with pytest.raises(DataError, match=r"row 2, field 'label': NoneType given, str or int or bool expected"):
        read(tmp_path, **NLI)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**NLI, "labels": {"yes": "entailed"}}, r'labels\.yes: "entailed" is given, .*Did you mean entailment\?'),
        ({**NLI, "labels": {1: None}}, r"labels\.1: null is given, expected is 'entailment'"),
        ({**EDIT, "unfold": ["data[]"]}, r"unfold: 'data\[\]'; the path to a list is expected, without \[\]"),
        ({**EDIT, "path": "x.csv", "header": ["a", "b", "a"]}, r"header: .*each once"),
        ({**EDIT, "path": "x.csv", "header": ["a", 1]}, r"header\.1: 1 is given, expected is a valid string"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_named(row, message):
    with pytest.raises(RecipeError, match=rf"sources\.s\.{message}"):
        parse_sources({"s": row})


ARTICLE = {"article_id": "1", "title": "岬", "abstract": "要約。",
           "sections": [{"section": "", "paragraphs": ["陸である。"]}]}  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "row", "field"),
    [
        ("markdown_sections", {"title": "題", "text": None}, "text"),
        ("markdown_sections", {"title": "題", "text": 3}, "text"),
        ("wikiextractor", {"title": "題", "text": None}, "text"),
        ("wikiextractor", {"title": 3, "text": "本文"}, "title"),
        ("article_paragraphs", {**ARTICLE, "sections": None}, "sections"),
        ("article_paragraphs", {**ARTICLE, "sections": [None]}, "sections"),
        ("article_paragraphs", {**ARTICLE, "sections": [{"section": "", "paragraphs": None}]}, "sections"),
        ("article_paragraphs", {**ARTICLE, "sections": [{"section": "", "paragraphs": [None]}]}, "text"),
        ("article_bodies", {**ARTICLE, "sections": [{"section": "", "paragraphs": [None]}]}, "sections"),
        ("article_bodies", {**ARTICLE, "sections": [{"section": "", "paragraphs": [1]}]}, "sections"),
        ("article_bodies", {**ARTICLE, "abstract": None}, "abstract"),
        ("rows", {"title": "題", "text": None}, "text"),
    ],
)
def test_a_null_in_a_shape_is_named_with_file_row_and_field(tmp_path, shape, row, field):
    good = ARTICLE | {"article_id": "0", "text": "本文。"}
    write(tmp_path, "rows.jsonl", good, row)
    with pytest.raises(DataError, match=rf"rows\.jsonl, row 2, field '{field}'"):
        read(tmp_path, kind="collection", path="rows.jsonl", shape=shape)


@pytest.mark.parametrize("shape", ["markdown_sections", "wikiextractor", "rows"])
def test_with_a_filter_a_null_text_is_left_out(tmp_path, shape):
    source = {"kind": "collection", "path": "rows.jsonl", "shape": shape, "filter": {"min_chars": 1}}
    write(tmp_path, "rows.jsonl", {"title": "題", "text": "本文。"}, {"title": None, "text": None})
    texts = [draft.positive.text for _, draft in drafts(parse_sources({"s": source})["s"], tmp_path)]
    assert texts == ["本文。"]
    if shape == "wikiextractor":
        unfolded = {"unfold": ["paragraphs"], "fields": {"text": "paragraphs.text"}}
        with pytest.raises(DataError, match=r"rows\.jsonl, row 2, field 'paragraphs\.text': NoneType given"):
            read(tmp_path, **{**source, **unfolded, "filter": None})


def test_a_null_title_and_a_null_heading_are_empty(tmp_path):
    write(tmp_path, "rows.jsonl", {"title": None, "text": "本文。"})
    assert read(tmp_path, kind="collection", path="rows.jsonl")[0]["title"] == ""
    write(tmp_path, "rows.jsonl", {**ARTICLE, "sections": [{"section": None, "paragraphs": ["陸である。"]}]})
    (found,) = read(tmp_path, kind="collection", path="rows.jsonl", shape="article_paragraphs")
    assert found == {"title": "岬", "section": "", "text": "陸である。"}


CIRRUS = [{"index": {"_id": "1"}}, {"title": "岬", "text": None, "namespace": 0}]
TOPICS = {"topics.tsv": "1\t問い\n", "qrels.tsv": "1\tQ0\ta\t1\n",
          "docs.jsonl": '{"docid": "a", "title": null, "text": "答え"}\n'}  # fmt: skip
TRIPLES = {"queries.tsv": "1\t問い\n", "collection.tsv": "5\t答え\n6\t別\n", "triples.tsv": "1\t5\t6\n"}
JUDGED = {"queries.jsonl": '{"qid": "1", "query": "問い", "positives": ["a"]}\n',
          "corpus.jsonl": '{"docid": "a", "text": "答え"}\n'}  # fmt: skip
SHAPES = {
    "topics": ("question_to_passage", {"answers": None}, TOPICS),
    "triples": ("pair", {}, TRIPLES),
    "judged_queries": ("title_to_text", {}, JUDGED),
}


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ("topics", {"topics.tsv": "1\t問い\n1\t別の問い\n"}, r"topics\.tsv, row 2: the id '1' stands for two texts"),
        ("topics", {"topics.tsv": "1 問い\n"}, r"topics\.tsv, row 1: an id, a tabulator and a text"),
        ("topics", {"topics.tsv": "\t問い\n"}, r"topics\.tsv, row 1: an id, a tabulator and a text"),
        ("topics", {"docs.jsonl": TOPICS["docs.jsonl"] * 2 + TOPICS["docs.jsonl"].replace("答え", "別")},
         r"docs\.jsonl, row 3, field 'docid': 'a' stands for two texts"),
        ("topics", {"docs.jsonl": '{"docid": 3, "text": "答え"}\n'}, r"docs\.jsonl, row 1, field 'docid': int given"),
        ("topics", {"qrels.tsv": "qid\tQ0\tdocid\tscore\n"}, r"qrels\.tsv, row 1, .*'score' given.*names the columns"),
        ("topics", {"qrels.tsv": "1\tQ0\ta\t1.0\n"}, r"qrels\.tsv, row 1, column 'relevance': '1\.0' given, a whole"),
        ("topics", {"qrels.tsv": "1\tQ0\ta\t0.5\n"}, r"'0\.5' given, a whole"),
        ("topics", {"qrels.tsv": "1\tQ0\ta\t--1\n"}, r"'--1' given, a whole"),
        ("topics", {"qrels.tsv": "1\tQ0\ta\t99999999999999\n"}, r"'99999999999999' is out of range"),
        ("topics", {"qrels.tsv": "1\tQ0\ta\t1\n1\tQ0\ta\t0\n"}, r"qrels\.tsv, row 2: query '1' has document 'a' twice"),
        ("triples", {"queries.tsv": "1\t問い\n1\t別\n"}, r"queries\.tsv, row 2: the id '1' stands for two texts"),
        ("triples", {"collection.tsv": "5\t甲\n5\t乙\n6\t丙\n"}, r"collection\.tsv, row 2: the id '5' stands for two"),
        ("judged_queries", {"queries.jsonl": JUDGED["queries.jsonl"] * 2}, r"queries\.jsonl, row 2, field 'qid': '1'"),
        ("judged_queries", {"corpus.jsonl": JUDGED["corpus.jsonl"] * 2}, r"corpus\.jsonl, row 2, field 'docid': 'a'"),
        ("judged_queries", {"corpus.jsonl": '{"docid": " ", "text": "答え"}'}, r"row 1, field 'docid': empty text"),
        ("judged_queries", {"queries.jsonl": '{"qid": "1", "query": "問い", "positives": [null]}'},
         r"queries\.jsonl, row 1, field 'positives': a list of ids"),
        ("judged_queries", {"queries.jsonl": '{"qid": "1", "query": "問い", "positives": ["b"]}'},
         r"queries\.jsonl, row 1, query '1': positive 'b' is not in corpus\.jsonl"),
    ],
)  # fmt: skip
def test_a_judged_shape_that_does_not_fit_is_named(tmp_path, shape, change, message):
    kind, fields, files = SHAPES[shape]
    source = {"kind": kind, "path": "*", "shape": shape, "fields": fields}
    for name, content in files.items():
        write(tmp_path, name, content)
    assert read(tmp_path, **source)
    for name, content in change.items():
        write(tmp_path, name, content)
    with pytest.raises(DataError, match=message):
        read(tmp_path, **source)


def test_a_null_in_a_dump_is_named(tmp_path):
    write(tmp_path, "x.json", *CIRRUS)
    with pytest.raises(DataError, match=r"x\.json, row 2, field 'text': NoneType given"):
        read(tmp_path, kind="title_to_text", path="x.json", shape="cirrus")


def test_a_fraction_is_a_grade_only_if_it_is_whole():
    from ruri_kedro.tables.raw import check_grade

    assert [check_grade("f", value) for value in (2, 2.0, "2", "-1", "+1", -1000)] == [2, 2, 2, -1, 1, -1000]
    for value in (0.5, "E", True, None, "1.0", "", float("nan"), 1001, -1001, 10**14, "9" * 5000):
        with pytest.raises(DataError, match=r"^f: '.*'.*Correct the row"):
            check_grade("f", value)
