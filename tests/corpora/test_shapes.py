"""What is wrong with a dump, with judgments or with triples is said with its file and row."""

import json
from typing import get_args

import pytest

from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.shape_names import Shape
from ruri_kedro.corpora.shapes import SHAPES
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError

TOPICS = {"topics.x-train.tsv": "1\t問い\n", "qrels.x-train.tsv": "1\tQ0\ta\t1\n1\tQ0\tb\t0\n",
          "docs-0.jsonl": [{"docid": "a", "title": "題", "text": "答え"}, {"docid": "b", "text": "別"}]}  # fmt: skip
TRIPLES = {"ja_queries.tsv": "1\t問い\n", "ja_collection.tsv": "5\t答え\n6\t別\n", "triples.ids.tsv": "1\t5\t6\n"}
CIRRUS = {"x.json": [{"index": {"_id": "1"}}, {"title": "岬", "text": "岬は陸である。", "namespace": 0}]}
ARTICLE = {"x.jsonl": [{"title": "岬", "text": "岬\n陸である。\nSection::::例.\n灯台。\n"}]}


def test_every_shape_that_a_recipe_can_name_is_read():
    assert get_args(Shape) == tuple(SHAPES)


def read(folder, files, **source):
    for name, content in files.items():
        rows = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (folder / name).write_text(rows, encoding="utf-8")
    parsed = parse_sources({"s": {"path": "*", **source}})["s"]
    return [draft for _, draft in drafts(parsed, folder)]


def topics(folder, files):
    return read(folder, files, kind="question_to_passage", shape="topics", fields={"answers": None})


def triples(folder, files):
    return read(folder, files, kind="pair", shape="triples")


def cirrus(folder, files):
    return read(folder, files, kind="title_to_text", shape="cirrus")


@pytest.mark.parametrize(
    ("shape", "good", "broken", "message"),
    [
        (topics, TOPICS, {"topics.x-train.tsv": "2\t問い\n"}, r"qrels.*: query '1' is not in the topics"),
        (topics, TOPICS, {"docs-0.jsonl": [{"docid": "a", "text": "答え"}]}, "docid 'b' is in no docs file"),
        (topics, TOPICS, {"docs-0.jsonl": [{"docid": "a", "text": " "}]}, r"docs-0.*row 1, field 'text': empty text"),
        (topics, TOPICS, {"docs-0.jsonl": [{"id": "a", "text": "答え"}]}, r"row 1, field 'docid': missing"),
        (topics, TOPICS, {"qrels.x-train.tsv": "1\tQ0\ta\n"}, r"qrels.*row 1: 3 columns, expected 4"),
        (topics, TOPICS, {"topics.x-dev.tsv": "3\t別\n"}, r"one file named like topics.* is expected among: .*dev"),
        (triples, TRIPLES, {"triples.ids.tsv": "1\t5\t9\n"}, r"triples.*row 1: there is no text for negative '9'"),
        (triples, TRIPLES, {"triples.ids.tsv": "8\t5\t6\n"}, r"triples.*row 1: there is no text for anchor '8'"),
        (cirrus, CIRRUS, {"x.json": CIRRUS["x.json"][1:]}, r"x.json, row 1, field 'index': missing.*rows 1, 3, 5"),
        (cirrus, CIRRUS, {"x.json": CIRRUS["x.json"][:1]}, r"x.json, row 1, field 'title': missing"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, shape, good, broken, message):
    assert shape(tmp_path, good)
    with pytest.raises(DataError, match=message):
        shape(tmp_path, broken)


def test_headings_of_extracted_articles_are_sections_and_the_title_is_no_paragraph(tmp_path):
    paragraphs = {"unfold": ["paragraphs"], "fields": {"section": "paragraphs.title", "text": "paragraphs.text"}}
    found = read(tmp_path, ARTICLE, kind="title_to_text", shape="wikiextractor", **paragraphs)
    assert [(draft.anchor.text, draft.positive.text) for draft in found] == [("岬", "陸である。"), ("岬 例", "灯台。")]
    whole = read(tmp_path, ARTICLE, kind="abstract_and_body", shape="wikiextractor")
    assert (whole[0].anchor.text, whole[0].positive.text) == ("岬", "陸である。")


def test_a_markdown_text_without_headings_is_one_section(tmp_path):
    rows = {
        "x.jsonl": [{"title": "題", "text": "一行目。\n二行目。"}, {"text": "# 見出し\n本文。\n### 細目 ###\n詳細。"}]
    }
    found = read(tmp_path, rows, kind="title_to_text", shape="markdown_sections")
    assert [(draft.anchor.text, draft.positive.text) for draft in found] == [
        ("題", "一行目。 二行目。"),
        ("見出し", "本文。"),
        ("見出し 細目", "詳細。"),
    ]
