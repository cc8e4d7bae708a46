"""Examples become a training set on disk, some of them in memory at a time, and are read once."""

import random

import numpy as np
import pytest
from damage import cut, flipped
from tiny import PROMPTS, tiny_encoder
from train_tables import examples_table, stage, tables

from ruri_kedro.errors import DataError
from ruri_kedro.models.token_cache import TokenCache
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.training import reading
from ruri_kedro.training.plan import Plan
from ruri_kedro.training.reading import Reading, read_examples, read_topics
from ruri_kedro.training.run import train_embedder

OBJECTIVES = ("contrastive", "distillation")


@pytest.fixture
def read(tmp_path):
    """Read the examples of two sources, with 0 to 3 negatives and two objectives."""
    first, passages = tables(tmp_path)
    rows = {name: list(first.iter_rows([name])) for name in ("faq", "nli")}
    for number, row in enumerate(rows["nli"]):
        row["negatives"] = [str((number + k) % 36) for k in range(number % 4)]
        row["objective"] = OBJECTIVES[number % 2]
        row["split"] = "validation" if number == 5 else "train"
    examples = examples_table(tmp_path / "mixed", rows)
    scores = {(row["query_id"], d): float(int(d) % 7) for name in rows for row in rows[name]
              for d in (row["positive"], *row["negatives"])}  # fmt: skip

    def call(folder="set", teacher=scores, tokens="tokens", **settings):
        how = Reading(OBJECTIVES, ("クエリ: ", "文章: "), **{"lengths": (12, 12), "special": True, **settings})
        cache = TokenCache(tmp_path / tokens, tiny_encoder().tokenizer)
        return read_examples(examples, passages, "tuned", how, cache, tmp_path / folder, teacher)

    return call


def rows_of(data):
    """Every example as plain values."""
    return [
        (
            data.example_ids[row],
            data.group_names[data.groups[row]],
            data.objectives[data.groups[row]],
            [data.tokens.row(text).tolist() if text >= 0 else None for text in data.texts[row]],
            data.tokens.lengths[data.texts[row][data.texts[row] >= 0]].tolist(),
            data.identities[row].tolist(),
            None if data.teacher is None else np.nan_to_num(data.teacher[row], nan=-1).tolist(),
        )
        for row in range(len(data))
    ]


@pytest.mark.parametrize("block", [1, 5, 12, 13])
@pytest.mark.parametrize("taught", [True, False])
def test_blocks_do_not_change_the_examples(read, monkeypatch, block, taught):
    settings = {} if taught else {"teacher": None}
    whole = rows_of(read(**settings))
    assert len(whole) == 23 and {group for _, group, *_ in whole} == {
        "faq (contrastive)",
        "nli (contrastive)",
        "nli (distillation)",
    }
    monkeypatch.setattr(reading, "BLOCK_ROWS", block)
    assert rows_of(read("blocks", tokens="others", **settings)) == whole


def test_identities_are_the_same_for_the_same_text_only(read, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 4)
    data = read(shuffled=True)
    texts = {}
    for row in range(len(data)):
        name = data.example_ids[row]
        number = int(name[3:])
        own = [number, number + 12, *([number + 24] if name.startswith("faq") else
                                      [(number + k) % 36 for k in range(number % 4)])]  # fmt: skip
        for column, docid in enumerate(own):
            assert texts.setdefault(docid, data.identities[row, column]) == data.identities[row, column]
        assert (data.identities[row, len(own) :] == -1).all()
    assert len(set(texts.values())) == len(texts)


def test_what_is_there_is_mapped_and_not_made_again(read, monkeypatch):
    before = rows_of(read())
    monkeypatch.setattr(reading, "assemble", lambda *_: pytest.fail("the examples are read again"))
    data = read()
    assert rows_of(data) == before
    for array in (data.texts, data.identities, data.groups, data.teacher, data.tokens.starts):
        assert not array.flags.writeable and not array.flags.owndata


@pytest.mark.parametrize(
    "change",
    [{"lengths": (12, 9)}, {"lengths": (9, 12)}, {"special": False}, {"shuffled": True}, {"teacher": "others"}],
)
def test_another_reading_makes_another_set(read, change):
    before = read()
    if change == {"teacher": "others"}:
        scores = {(f"q{i}", str(d)): 0.5 for i in range(12) for d in range(36)}
        assert (read(teacher=scores).teacher[:, 0] == 0.5).all() and before.teacher[:, 0].max() > 1
    else:
        after = read(**change)
        assert rows_of(after) == rows_of(read("fresh", **change))


def test_tokens_that_were_removed_are_made_again(read, tmp_path):
    before = rows_of(read())
    for path in (tmp_path / "tokens").glob("*/*.arrow"):
        path.unlink()
    assert rows_of(read()) == before


def test_what_is_damaged_is_made_again(read, tmp_path, caplog):
    before, rng = rows_of(read()), random.Random(0)
    for number in range(6):
        path = rng.choice([path for path in sorted(tmp_path.glob("set/*")) if path.stat().st_size])
        with cut(path, 0.5) if number % 4 == 0 else flipped(path, rng):
            assert rows_of(read()) == before
        assert str(path) in caplog.text


def test_an_interrupted_reading_leaves_nothing_that_counts(read, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 5)
    original, calls = reading.assemble, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise DataError("a passage is missing")
        return original(*arguments)

    monkeypatch.setattr(reading, "assemble", interrupted)
    with pytest.raises(DataError):
        read()
    assert not list(tmp_path.glob("set")) and not list(tmp_path.glob(".writing-*"))
    assert rows_of(read()) == rows_of(read("fresh"))


def test_topics_are_titles_of_the_positives_of_a_source(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_ROWS", 5)
    first, passages = tables(tmp_path)
    held = list(first.iter_rows(["faq"]))
    held[0]["split"] = "validation"
    examples = examples_table(tmp_path / "held", {"faq": held, "nli": list(first.iter_rows(["nli"]))})
    numbered = [(int(row["docid"]), row) for row in passages.iter_rows()]
    rows = [row | {"title": f"t{number % 3}" if number % 4 else ""} for number, row in numbered]
    titled = write_table(tmp_path / "titled", SCHEMAS["passages"], {"faq": Part("k", lambda: iter([rows]))})
    titles = {row["docid"]: row["title"] for row in rows}
    train = [row for row in examples.iter_rows() if row["split"] == "train"]
    topics = read_topics(examples, titled, {"faq": "title"})
    assert len(topics) == len(train) == 23
    for one, number in zip(train, topics, strict=True):
        for other, again in zip(train, topics, strict=True):
            same = (
                one["source"] == other["source"] == "faq" and titles[one["positive"]] == titles[other["positive"]] != ""
            )
            assert (number == again) == (same or one is other)
    assert read_topics(examples, titled, {}) is None is read_topics(examples, titled, {"nli": None})

    how = stage(tmp_path, batch_by={"faq": "title"}, batch_size=3)
    train_embedder(tiny_encoder(), examples, titled, PROMPTS, how, lambda *_: None)
    plan = Plan.open(tmp_path / "checkpoints/tuned/plan")
    assert len(plan) and any(len(set(topics[batch.rows])) == 1 for batch in plan)
