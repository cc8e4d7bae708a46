"""Which pairs are held out: by title, else by question or text; the share that made is said, none is an error."""

import json
import logging

import pytest

from ruri_kedro.corpora.build import pair_parts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import RecipeError
from ruri_kedro.tables import SCHEMAS, write_table
from ruri_kedro.text.hashing import unit_interval


def splits(folder, rows, kind="question_to_passage", **source):
    """The split of each row's pair, in order."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields = {"answers": None} if kind == "question_to_passage" else {}
    sources = parse_sources({"s": {"kind": kind, "path": "rows.jsonl", "fields": fields, **source}})
    table = write_table(folder / "pairs", SCHEMAS["pairs"], pair_parts(sources, folder))
    return [row["split"] for row in table.iter_rows()]


def sides(groups, share):
    return ["validation" if unit_interval("held out", group) < share else "train" for group in groups]


def questions(count, **more):
    return [{"question": f"問{n}は何ですか", "text": f"答え{n}です。", **more} for n in range(count)]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_questions_without_titles_are_held_out_by_question(tmp_path, share, caplog):
    with caplog.at_level(logging.INFO):
        found = splits(tmp_path, questions(200), held_out=share)
    assert found == sides([row["question"] for row in questions(200)], share)
    held = found.count("validation")
    assert abs(held / 200 - share) < 0.06
    assert f"held_out={share:g}: {held} of 200 pairs ({held / 200:.1%}) are held out" in caplog.text


def test_the_answers_of_one_question_stay_together(tmp_path):
    rows = [{"question": f"問{n % 40}", "text": f"答え{n}です。", "title": None} for n in range(120)]
    found = splits(tmp_path, rows, held_out=0.2)
    assert {found[n] for n in range(120)} == {"train", "validation"}
    assert all(len({found[n], found[n + 40], found[n + 80]}) == 1 for n in range(40))


def test_where_rows_have_titles_the_titles_decide_as_they_did(tmp_path):
    rows = [row | {"title": f"題{n // 3}" if n % 2 else ""} for n, row in enumerate(questions(120))]
    groups = [row["title"] or row["question"] for row in rows]
    assert splits(tmp_path, rows, held_out=0.1) == sides(groups, 0.1)
    titled = [row | {"title": f"題{n // 3}"} for n, row in enumerate(questions(120))]
    assert splits(tmp_path, titled, held_out=0.1) == sides([row["title"] for row in titled], 0.1)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("title_to_text", lambda n: {"section": f"節{n}", "text": f"本文{n}。"}),
        ("abstract_and_body", lambda n: {"title": "", "abstract": f"要約{n}。", "text": f"要約{n}。本文{n}。"}),
        ("sentence_to_sentence", lambda n: {"text": f"一つ目{n}。二つ目{n}。"}),
    ],
)
def test_other_kinds_without_titles_are_held_out_by_text(tmp_path, kind, row):
    rows = [row(n) for n in range(100)]
    assert splits(tmp_path, rows, kind=kind, held_out=0.2) == sides([row["text"] for row in rows], 0.2)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_one_title_for_all_rows_cannot_be_parted(tmp_path, share):
    count = "0 of 40" if sides(["題"], share) == ["train"] else "40 of 40"
    with pytest.raises(
        RecipeError, match=rf"sources\.s\.held_out={share:g}: {count} pairs .*rows\.jsonl .*`validation`"
    ):
        splits(tmp_path, questions(40, title="題"), held_out=share)


def test_a_share_below_one_pair_is_said_and_no_error(tmp_path, caplog):
    assert splits(tmp_path, questions(3, title="題0"), held_out=0.05) == ["train"] * 3
    assert "held_out=0.05: 0 of 3 pairs (0.0%) are held out for validation: the share asks for less" in caplog.text


def test_a_table_that_was_killed_counts_the_shards_that_were_there(tmp_path, monkeypatch, caplog):
    from ruri_kedro.corpora import build, reading

    monkeypatch.setattr(reading, "SHARD_CHARS", 200)
    made = []
    original = reading.shard_drafts

    def fails(source, root, shard, removed=None):
        made.append(shard)
        if len(made) == 3:
            raise RuntimeError("power cut")
        return original(source, root, shard, removed)

    monkeypatch.setattr(build, "shard_drafts", fails)
    with pytest.raises(RuntimeError, match="power cut"):
        splits(tmp_path, questions(100), held_out=0.2)
    with caplog.at_level(logging.INFO):
        found = splits(tmp_path, questions(100), held_out=0.2)
    assert f"{found.count('validation')} of 100 pairs" in caplog.text and len(found) == 100
