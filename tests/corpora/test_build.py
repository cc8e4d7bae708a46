"""From raw rows to passages and pairs, kind by kind."""

import gzip
import json
import re

import pytest

from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.tables.lookup import passage_texts

ARTICLES = [
    {
        "article_id": "a1",
        "title": "青葉城",
        "abstract": "青葉城は城である。",
        "sections": [
            {"section": "歴史", "paragraphs": ["一六〇一年に築かれた。", "後に焼けた。"]},
            {"section": "交通", "paragraphs": ["駅から歩いて行ける。"]},
        ],
    },
    {
        "article_id": "a2",
        "title": "若葉川",
        "abstract": "川。",
        "sections": [{"section": "", "paragraphs": ["流れる。"]}],
    },
]


def build(tmp_path, rows, **source):
    """(pairs as (anchor text, positive text, negative texts), the tables) of one source with these rows."""
    path = tmp_path / "raw" / "rows.jsonl.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()))
    sources = parse_sources({"s": {"path": "rows.jsonl.gz", **source}})
    passages = write_table(tmp_path / "passages", SCHEMAS["passages"], passage_parts(sources, path.parent))
    pairs = write_table(tmp_path / "pairs", SCHEMAS["pairs"], pair_parts(sources, path.parent))
    text = passage_texts(passages)
    found = [
        (text[row["anchor"]], text[row["positive"]], [text[docid] for docid in row["given_negatives"]])
        for row in pairs.iter_rows()
    ]
    return found, passages, pairs


def test_title_to_paragraph_leaves_the_title_out_of_the_positive(tmp_path):
    found, *_ = build(tmp_path, ARTICLES, kind="title_to_text", shape="article_paragraphs")
    assert found == [
        ("青葉城 歴史", "一六〇一年に築かれた。", []),
        ("青葉城 歴史", "後に焼けた。", []),
        ("青葉城 交通", "駅から歩いて行ける。", []),
        ("若葉川", "流れる。", []),
    ]


def test_title_to_body_takes_the_whole_article(tmp_path):
    found, *_ = build(tmp_path, ARTICLES, kind="title_to_text", shape="article_bodies")
    assert found[0] == ("青葉城", "青葉城は城である。一六〇一年に築かれた。後に焼けた。駅から歩いて行ける。", [])


def test_a_collection_has_passages_with_titles_and_no_pairs(tmp_path):
    found, passages, pairs = build(tmp_path, ARTICLES, kind="collection", shape="article_paragraphs")
    assert found == [] and pairs.parts() == []
    assert "青葉城 歴史 後に焼けた。" in passage_texts(passages).values()


def test_question_to_passage_normalises_and_splits_the_title_once(tmp_path):
    rows = [
        {"question": "Ｘは？", "answers": ["Ａ", "A"], "context": "題 [SEP] 本文 [SEP] 続き"},
        {"question": "Ｘは？", "answers": ["A"], "context": "題 [SEP] 本文 [SEP] 続き"},
    ]
    found, passages, pairs = build(tmp_path, rows, kind="question_to_passage", fields={"text": "context"})
    assert found == [("Xは?", "題 本文 [SEP] 続き", [])]
    row = next(pairs.iter_rows())
    assert row["answers"] == ["A"] and row["split"] == "train" and row["origin"] == "given"
    assert [p["title"] for p in passages.iter_rows() if p["docid"] == row["positive"]] == ["題"]


def test_premise_to_hypothesis_gathers_the_contradictions_of_a_premise(tmp_path):
    rows = [
        {"premise": "犬が走る", "hypothesis": "犬が止まる", "label": "no"},
        {"premise": "犬が走る", "hypothesis": "動物が走る", "label": "entailment"},
        {"premise": "犬が走る", "hypothesis": "犬は茶色い", "label": "neutral"},
        {"premise": "猫が寝る", "hypothesis": "動物が寝る", "label": "entailment"},
        {"premise": "鳥が飛ぶ", "hypothesis": "鳥が泳ぐ", "label": "no"},
    ]
    found, *_ = build(tmp_path, rows, kind="premise_to_hypothesis", labels={"no": "contradiction"})
    assert found == [("犬が走る", "動物が走る", ["犬が止まる"]), ("猫が寝る", "動物が寝る", [])]


def test_edits_and_sentences(tmp_path):
    found, *_ = build(tmp_path, [{"text1": "古い文", "text2": "新しい文"}, {"text1": "同", "text2": "同"}], kind="edit")
    assert found == [("古い文", "新しい文", [])]
    rows = [{"text": "一つ目。二つ目。三つ目。"}, {"text": "一文だけ。"}]
    found, *_ = build(tmp_path, rows, kind="sentence_to_sentence")
    assert len(found) == 1
    anchor, positive, _ = found[0]
    assert anchor != positive and {anchor, positive} < {"一つ目。", "二つ目。", "三つ目。"}


def test_unsupervised_texts_are_their_own_positives(tmp_path):
    rows = [{"text": "一つ目。二つ目。"}, {"text": "三つ目。"}, {"text": "三つ目。"}]
    found, passages, _ = build(tmp_path, rows, kind="unsupervised")
    assert found == [("一つ目。二つ目。", "一つ目。二つ目。", []), ("三つ目。", "三つ目。", [])]
    assert passages.rows() == 2


def test_labelled_pairs_keep_their_label_and_may_be_equal(tmp_path):
    rows = [{"text1": "犬が走る", "text2": "犬が駆ける", "score": 4.5}, {"text1": "同", "text2": "同", "score": 5},
            {"text1": "犬が走る", "text2": "猫が寝る", "score": 0}]  # fmt: skip
    found, _, pairs = build(tmp_path, rows, kind="labelled_pair", fields={"label": "score"})
    assert found == [("犬が走る", "犬が駆ける", []), ("同", "同", []), ("犬が走る", "猫が寝る", [])]
    assert [row["label"] for row in pairs.iter_rows()] == [4.5, 5.0, 0.0]
    _, _, pairs = build(tmp_path, [{"text1": "古い文", "text2": "新しい文"}], kind="edit")
    assert [row["label"] for row in pairs.iter_rows()] == [None]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (
            "labelled_pair",
            {},
            r"finetuning\.objective: contrastive takes all pairs .* the kind labelled_pair has labels",
        ),
        ("labelled_pair", {"objective": "distillation"}, r"objective: distillation .*Allowed: cosent, angle\."),
        (
            "edit",
            {"objective": "cosent"},
            r"objective: cosent learns from labels, but the kind edit has none\. Allowed: c",
        ),
        (
            "labelled_pair",
            {"objective": "angle", "negatives": "random"},
            r"'random', but labelled pairs have no negativ",
        ),
    ],
)
def test_labels_and_objectives_that_do_not_fit_each_other_are_refused(kind, row, message):
    stages = {"finetuning": {"negatives": "given"} | row}
    with pytest.raises(RecipeError, match=message):
        parse_sources({"s": {"kind": kind, "path": "s.jsonl", "stages": stages}})
    fitting = {"negatives": "given"} | ({"objective": "angle"} if kind == "labelled_pair" else {})
    assert parse_sources({"s": {"kind": kind, "path": "s.jsonl", "stages": {"finetuning": fitting}}})


@pytest.mark.parametrize("chars", [1, 10**6])
def test_the_first_rows_that_the_rules_leave_are_taken(tmp_path, monkeypatch, chars):
    monkeypatch.setattr("ruri_kedro.corpora.reading.SHARD_CHARS", chars)
    rows = [{"text1": f"古い文{i}", "text2": f"新しい文{i}" if i % 3 else "short", "keep": i != 1} for i in range(12)]
    found, passages, _ = build(tmp_path, rows, kind="edit", where={"keep": True}, filter={"language": "ja"}, max_rows=4)
    assert [anchor for anchor, _, _ in found] == ["古い文2", "古い文4", "古い文5", "古い文7"]
    assert passages.rows() == 8
    whole, *_ = build(tmp_path, rows, kind="edit", where={"keep": True}, filter={"language": "ja"})
    assert whole[:4] == found and len(whole) == 7


def test_validation_rows_are_no_matter_of_the_first_rows(tmp_path):
    held = tmp_path / "raw" / "held.jsonl"
    held.parent.mkdir()
    held.write_text("".join(f'{{"text1": "問{i}", "text2": "答{i}"}}\n' for i in range(5)), "utf-8")
    rows = [{"text1": f"古い文{i}", "text2": f"新しい文{i}"} for i in range(5)]
    _, _, pairs = build(tmp_path, rows, kind="edit", max_rows=2, validation="held.jsonl")
    assert [row["split"] for row in pairs.iter_rows()] == ["train"] * 2 + ["validation"] * 5


def test_judged_queries_join_their_corpus(tmp_path):
    folder = tmp_path / "raw" / "news"
    folder.mkdir(parents=True)
    (folder / "queries.jsonl").write_text('{"qid": "q", "query": "見出し", "positives": ["d"]}\n')
    (folder / "corpus.jsonl").write_text('{"docid": "d", "title": "", "text": "記事。"}\n')
    sources = parse_sources({"s": {"path": "news", "kind": "title_to_text", "shape": "judged_queries"}})
    passages = write_table(tmp_path / "passages", SCHEMAS["passages"], passage_parts(sources, tmp_path / "raw"))
    assert [row["text"] for row in passages.iter_rows()] == ["見出し", "記事。"]
    (folder / "queries.jsonl").write_text('{"qid": "q", "query": "見出し", "positives": ["x"]}\n')
    with pytest.raises(DataError, match="query 'q': positive 'x' is not in corpus"):
        write_table(tmp_path / "passages", SCHEMAS["passages"], passage_parts(sources, tmp_path / "raw"))


@pytest.mark.parametrize("kind", ["question_to_passage", "title_to_text", "sentence_to_sentence"])
def test_titles_are_held_out_whole_by_every_kind(kind, tmp_path):
    rows = [
        {"question": f"問{i}", "answers": [], "title": f"題{i // 5}", "context": f"文{i}。次の文{i}。"}
        for i in range(500)
    ]
    fields = {"title": "title", "text": "context"}
    _, passages, pairs = build(tmp_path, rows, kind=kind, fields=fields, held_out=0.2)
    texts = passage_texts(passages)
    by_split = {"train": set(), "validation": set()}
    for row in pairs.iter_rows():
        number = re.search(r"文(\d+)。", texts[row["positive"]]).group(1)
        by_split[row["split"]].add(int(number) // 5)
    assert not by_split["train"] & by_split["validation"]
    assert 10 <= len(by_split["validation"]) <= 30


def test_rows_are_selected_and_ids_are_stable(tmp_path):
    rows = [{"text1": "甲", "text2": "乙", "split": "train"}, {"text1": "丙", "text2": "丁", "split": "test"}]
    found, _, pairs = build(tmp_path, rows, kind="edit", where={"split": "train"})
    assert found == [("甲", "乙", [])]
    first = pairs.digest()
    _, _, again = build(tmp_path, rows, kind="edit", where={"split": "train"})
    assert again.digest() == first


def staged(stage, **row):
    """A source with a row for a stage; what is ... is not there."""
    row = {key: value for key, value in ({"negatives": "random"} | row).items() if value is not ...}
    return {"path": "x", "kind": "edit", "stages": {stage: row}}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "x"}, r"kind: missing."),
        ({"path": "x", "kind": "edits"}, r'kind: "edits" is given, expected is .*\. Did you mean edit\?'),
        ({"path": "x", "kind": "edit", "fieldes": {}}, r"fieldes: there is no such parameter. Did you mean fields\?"),
        ({"path": "x", "kind": "edit", "fields": {"text3": "t"}}, r"fields.text3: there .* mean text1 or text2\?"),
        ({"path": "x", "kind": "edit", "held_out": 5}, r"held_out: 5 is given, expected is less than 1"),
        ({"path": "x", "kind": "edit", "collection": "other"}, r"collection: 'other' is not a source"),
        ({"path": "x", "kind": "edit", "origin": "dreamt"}, r'origin: "dreamt" is given, expected is \'given\' or'),
        ({"path": "x", "kind": "edit", "stages": {"pretrainign": {"negatives": "random"}}},
         r"stages.pretrainign: there is no such parameter. Did you mean pretraining\?"),
        (staged("finetuning", objective="magic"), r"stages.finetuning.objective: 'magic' .*Allowed: contrastive, info"),
        (staged("pretraining", objective="distillation"), r"stages.pretraining.objective: 'distillation' is not"),
        (staged("pretraining", negatives="rrf"), r"stages.pretraining.negatives: 'rrf' .*random, bm25\."),
        (staged("finetuning", negatives="bm26"), r'stages.finetuning.negatives: "bm26" .*Did you mean bm25\?'),
        (staged("finetuning", negatives=...), r"stages.finetuning.negatives: missing"),
        (staged("finetuning", count="15"), r'stages.finetuning.count: "15" .*expected is a valid integer'),
        (staged("finetuning", window={"first": 30}), r"stages.finetuning.window.last: missing"),
        (staged("finetuning", window={"first": 3, "last": 2}), r"stages.finetuning.window: ranks 3 to 2"),
        (staged("finetuning", cuont=3), r"stages.finetuning.cuont: there is no such parameter. Did you mean count\?"),
        ({"path": "x", "kind": "edit", "stages": {"finetuning": [{"negatives": "rrf", "cuont": 3}]}},
         r"stages.finetuning.0.cuont: there is no such parameter. Did you mean count\?"),
        ({"path": "x", "kind": "edit", "stages": {"finetuning": None}}, r"stages.finetuning: null is given"),
    ],
)  # fmt: skip
def test_a_source_that_makes_no_sense_is_named(source, message):
    with pytest.raises(RecipeError, match=rf"^sources.s.{message}"):
        parse_sources({"s": source})


def test_the_faults_of_all_sources_are_told_at_once():
    wrong = {"path": "x", "kind": "edit", "held_out": 1.5, "colletion": "s"}
    with pytest.raises(RecipeError) as caught:
        parse_sources({"s": wrong, "t": wrong, "u": {"path": "x", "kind": "edit", "collection": "v"}})
    told = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert sorted(told) == [
        "sources.s.colletion", "sources.s.held_out", "sources.t.colletion", "sources.t.held_out", "sources.u.collection"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("held_out", "a lot", '"a lot" is given, expected is a valid number'),
        ("paragraphs", "three", '"three" is given, expected is a valid integer'),
        ("paragraphs", True, "true is given, expected is a valid integer"),
        ("paragraphs", 0, "0 is given, expected is greater than or equal to 1"),
        ("where", "split", '"split" is given, expected is'),
        ("unfold", "data", '"data" is given, expected is'),
        ("filter", True, "true is given, expected is"),
        ("stages", ["pretraining"], '["pretraining"] is given, expected is'),
        ("path", 7, "7 is given, expected is a valid string or"),
    ],
)
def test_a_value_of_another_type_is_named_before_anything_is_read(key, value, expected):
    with pytest.raises(RecipeError, match=re.escape(f"sources.s.{key}: {expected}")):
        parse_sources({"s": {"path": "x", "kind": "title_to_text", key: value}})
    with pytest.raises(RecipeError, match=re.escape('sources.s.filter.min_chars: "ten" is given, expected is a valid')):
        parse_sources({"s": {"path": "x", "kind": "edit", "filter": {"min_chars": "ten"}}})


def test_a_synthetic_source_beside_the_raw_folder(tmp_path):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "rows.jsonl").write_text('{"text1": "古い文", "text2": "新しい文"}\n', "utf-8")
    own = {"root": str(tmp_path / "beside"), "path": "rows.jsonl", "origin": "synthetic"}
    found, _, pairs = build(tmp_path, [{"text1": "甲", "text2": "乙"}], kind="edit", **own)
    assert found == [("古い文", "新しい文", [])]
    assert [row["origin"] for row in pairs.iter_rows()] == ["synthetic"]


def test_a_source_without_a_pair_is_named(tmp_path):
    said = r"source 's' .*no pair can be made of its rows as kind edit\. Of 1 rows: an anchor that equals its pos"
    with pytest.raises(DataError, match=said):
        build(tmp_path, [{"text1": "同", "text2": "同"}], kind="edit")


def test_a_collection_without_a_passage_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "短い"}\n', "utf-8")
    source = {"kind": "collection", "path": "rows.jsonl", "filter": {"min_chars": 99}}
    with pytest.raises(DataError, match=r"source 's' .*no passage can .* collection\. Of 1 rows: filter.min_chars"):
        write_table(tmp_path / "passages", SCHEMAS["passages"], passage_parts(parse_sources({"s": source}), tmp_path))


JA, EN = "古い灯台は海辺の町にある。", "The old lighthouse stands by the sea."


@pytest.mark.parametrize(
    ("kind", "rows", "settings", "said"),
    [
        ("pair", [(JA, EN), (EN, JA)], {"filter": {"max_chars": 5}}, "Of 2 rows: filter.max_chars removed 2"),
        ("pair", [(JA, EN)] * 3, {"filter": {"language": "ja"}}, "Of 3 rows: filter.language removed 3"),
        ("pair", [(JA, "ログインして続きを読む")], {"filter": {"boilerplate": False}}, "filter.boilerplate removed 1"),
        ("pair", [(JA, EN)] * 3, {"where": {"anchor": EN}}, "Of 3 rows: where removed 3"),
        ("pair", [(JA, EN)] * 3, {"exclude": {"anchor": "灯台"}}, "Of 3 rows: exclude removed 3"),
        ("pair", [(JA, JA), (EN, EN)], {}, "Of 2 rows: an anchor that equals its positive removed 2"),
        (
            "pair",
            [(JA, EN), (EN, JA + JA), ("海", "海")],
            {"where": {"anchor": [EN, "海"]}, "filter": {"max_chars": 20}},
            "Of 3 rows: where removed 1; filter.max_chars removed 1; an anchor that equals its positive removed 1",
        ),
        ("sentence_to_sentence", [JA], {}, "Of 1 rows: the kind makes nothing of the 1 that are left"),
        (
            "premise_to_hypothesis",
            [("甲", "乙", "neutral")] * 2,
            {},
            "Of 2 rows: their labels are neutral 2; the kind makes nothing of the 2 that are left",
        ),
    ],
)
def test_where_nothing_is_left_the_rules_that_removed_it_are_counted(tmp_path, kind, rows, settings, said):
    names = {"pair": ("anchor", "positive"), "sentence_to_sentence": ("text",)}
    names = names.get(kind, ("premise", "hypothesis", "label"))
    rows = [dict(zip(names, (row,) if isinstance(row, str) else row, strict=True)) for row in rows]
    with pytest.raises(DataError) as error:
        build(tmp_path, rows, kind=kind, **settings)
    assert said in str(error.value) and str(error.value).startswith("source 's'")


def test_near_duplicates_that_take_all_are_counted(tmp_path):
    _, _, pairs = build(tmp_path, [{"text1": JA, "text2": EN}], kind="edit")
    (row,) = pairs.iter_rows()
    left = {"docid": row["positive"], "source": "s", "kept": "x", "kept_source": "t", "overlap": 1.0}
    left = write_table(tmp_path / "left", SCHEMAS["duplicates"], {"all": Part("k", lambda: [[left]])})
    sources = parse_sources({"s": {"kind": "edit", "path": "rows.jsonl.gz"}})
    with pytest.raises(DataError, match=r"Of 1 rows: deduplication .* removed 1"):
        write_table(tmp_path / "none", SCHEMAS["pairs"], pair_parts(sources, tmp_path / "raw", left))


def test_a_source_of_a_stage_with_validation_pairs_only_is_named(tmp_path):
    rule = {"path": "none.jsonl", "validation": "rows.jsonl.gz"}
    rows = [{"anchor": JA, "positive": EN, "where": "x"}, {"anchor": EN, "positive": JA, "where": "x"}]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/none.jsonl").write_text('{"anchor": "甲", "positive": "甲"}\n', "utf-8")
    build(tmp_path, rows, kind="pair", **rule)  # nobody trains on it
    stages = {"pretraining": {"negatives": "random"}}
    with pytest.raises(DataError, match=r"no pair is left to train on \(pretraining\): all 2 are for validation"):
        build(tmp_path, rows, kind="pair", stages=stages, **rule)


def test_a_missing_field_names_the_file_and_the_row(tmp_path):
    with pytest.raises(DataError, match=r"rows.jsonl.gz, row 2, field 'text2': missing"):
        build(tmp_path, [{"text1": "甲", "text2": "乙"}, {"text1": "丙"}], kind="edit")
