"""The filter by consistency: ranks against a plain count, what is dropped, and what becomes of it."""

import numpy as np
import pytest

from ruri_kedro.corpora.profile import profile_tables
from ruri_kedro.errors import RecipeError
from ruri_kedro.mining.consistency import check_consistency
from ruri_kedro.mining.ranks import drawn, ranks_among
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.pipelines.negative_mining import nodes
from ruri_kedro.tables import SCHEMAS, Part, write_table

PROMPTS = {"query": "問: ", "document": "文: "}
ENCODING = {"max_length": 32, "chunk_tokens": 512, "precision": "float32", "device": "cpu"}
NOBODY = {"name": None, "revision": None, "prompts": None, "max_length": None}
OFF = {"encoder": NOBODY, "rank": 2, "sample": 100, "sources": None, "shard_rows": 10}
PAIRS, SWAPPED = 40, (3, 7, 22)
SOURCES = {"s": {"kind": "question_to_passage", "path": "s", "stages": {"finetuning": {"negatives": "random"}}}}
MINING = {
    "shard_rows": 6, "depth": 5, "window": {"first": 1, "last": 5}, "mine_window": None, "max_mined": 0,
    "min_answer_chars": 1, "fill": True, "negatives": 30,
}  # fmt: skip


def encode(self, texts, prompt, max_length, chunk_tokens, label, precision):
    """Texts with one number are near each other; the prompt moves them a little."""
    ENCODED.append(len(texts))
    vectors = np.array([np.random.default_rng(int(text.split()[-1])).normal(size=32) for text in texts])
    vectors += 0.1 * np.random.default_rng(len(prompt) + ord(prompt[0])).normal(size=32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


ENCODED: list[int] = []


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Question i asks for passage i, but for three whose passages went round."""
    monkeypatch.setattr(EncoderReference, "encode", encode)
    ENCODED.clear()
    answers = {n: n for n in range(PAIRS)} | dict(zip(SWAPPED, SWAPPED[1:] + SWAPPED[:1], strict=True))
    texts = {f"q{n}": f"問い {n}" for n in range(PAIRS)} | {f"d{n}": f"答え {n}" for n in range(PAIRS)}
    passages = [{"docid": d, "source": "s", "title": "", "section": "", "text": text} for d, text in texts.items()]
    pairs = [
        {"pair_id": f"p{n}", "query_id": f"id{n}", "source": "s", "split": "validation" if n == 30 else "train",
         "anchor": f"q{n}", "positive": f"d{answers[n]}", "given_negatives": [], "answers": [], "origin": "given"}
        for n in range(PAIRS)
    ]  # fmt: skip
    rows = {"passages": passages, "pairs": pairs, "leaks": [], "matches": [], "candidates": []}
    return {
        name: write_table(tmp_path / name, SCHEMAS[name], {"s": Part("k", lambda made=made: [made] if made else [])})
        for name, made in rows.items()
    }


def checked(tables, folder, sources_of_recipe=SOURCES, **change):
    settings = OFF | {"encoder": NOBODY | {"name": str(folder)}} | change
    parts = check_consistency(tables["passages"], tables["pairs"], settings, PROMPTS, ENCODING, sources_of_recipe)
    return write_table(folder / "inconsistent", SCHEMAS["inconsistent"], parts)


def test_ranks_are_those_of_a_plain_count(monkeypatch):
    monkeypatch.setattr("ruri_kedro.mining.ranks._SCORES", 64)
    rng = np.random.default_rng(0)
    queries, positives, sample = (rng.integers(-2, 3, (n, 3)).astype(np.float32) for n in (50, 50, 20))
    own = rng.integers(-1, 20, 50)
    sample[own[own >= 0]] = positives[own >= 0]
    expected = [
        1 + sum(q @ text > q @ p for place, text in enumerate(sample) if place != at)
        for q, p, at in zip(queries, positives, own, strict=True)
    ]
    assert ranks_among(queries, positives, sample, own).tolist() == expected
    assert len(set(expected)) > 5


def test_a_larger_sample_holds_the_smaller():
    names = [f"d{n}" for n in range(50)]
    assert drawn(reversed(names), 10) == drawn(names, 30)[:10] and len(set(drawn(names, 100))) == 50


@pytest.mark.parametrize("shard_rows", [10, 1000])
def test_pairs_whose_positive_is_not_found_are_dropped(tables, tmp_path, shard_rows):
    found = checked(tables, tmp_path, shard_rows=shard_rows)
    assert {row["pair_id"] for row in found.iter_rows()} == {f"p{n}" for n in SWAPPED}
    assert all(row["rank"] > 2 for row in found.iter_rows())
    assert ENCODED[0] == min(shard_rows, PAIRS - 1) and max(ENCODED) <= max(39, shard_rows)
    assert checked(tables, tmp_path, rank=1000).rows() == 0
    profile = profile_tables(tables["passages"], tables["pairs"], tables["leaks"], checked(tables, tmp_path))
    assert profile["inconsistent"].tolist() == [3]


def test_a_dropped_pair_gives_no_example_and_its_positive_no_negative(tables, tmp_path):
    found = checked(tables, tmp_path)
    given = [tables[name] for name in ("passages", "pairs", "leaks", "matches", "candidates")]
    parts = nodes.choose_examples(*given, SOURCES, MINING, 1, inconsistent=found, stage="finetuning")
    examples = write_table(tmp_path / "examples", SCHEMAS["examples"], parts).read().to_pylist()
    assert [row["pair_id"] for row in examples] == [f"p{n}" for n in range(PAIRS) if n not in SWAPPED]
    assert not any(row["positive"] in row["negatives"] for row in examples)


def test_texts_are_read_with_the_prompts_of_encoder_source_or_recipe(tables, tmp_path, monkeypatch):
    seen = set()

    def spy(self, texts, prompt, max_length, **rest):
        seen.add((prompt, max_length))
        return encode(self, texts, prompt, max_length, **rest)

    monkeypatch.setattr(EncoderReference, "encode", spy)
    own = {"s": SOURCES["s"] | {"prompts": {"query": "文一: ", "document": "文二: "}}}
    e5 = NOBODY | {"name": str(tmp_path), "prompts": {"query": "query: ", "document": "passage: "}, "max_length": 9}
    parts = {}
    for name, expected, given in (
        ("recipe", {("問: ", 32), ("文: ", 32)}, {}),
        ("source", {("文一: ", 32), ("文二: ", 32)}, {"sources_of_recipe": own}),
        ("encoder", {("query: ", 9), ("passage: ", 9)}, {"sources_of_recipe": own, "encoder": e5}),
    ):
        seen.clear()
        (tmp_path / name).mkdir()
        checked(tables, tmp_path / name, **given)
        assert seen == expected, name
        settings = OFF | {"encoder": given.get("encoder", NOBODY | {"name": str(tmp_path)})}
        sources = given.get("sources_of_recipe", SOURCES)
        found = check_consistency(tables["passages"], tables["pairs"], settings, PROMPTS, ENCODING, sources)
        parts[name] = found["s"].key
    assert len(set(parts.values())) == 3


def test_without_an_encoder_nothing_is_looked_at(tables, tmp_path):
    assert check_consistency(tables["passages"], tables["pairs"], OFF, PROMPTS, ENCODING, SOURCES) == {}
    assert checked(tables, tmp_path, sources="s").parts() == ["s"]
    assert sum(ENCODED) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, "consistency.rank: 0 is given, expected is greater than or equal to 1"),
        ({"sources": "s t"}, r"consistency.sources: 't' has no pairs without labels. Allowed: s"),
        ({"smaple": 1}, r"consistency.smaple: there is no such parameter\. Did you mean sample\?"),
        ({"encoder": NOBODY | {"name": "a/b"}}, "'a/b' is not a local folder and has no revision"),
    ],
)
def test_settings_without_a_meaning_are_refused(tables, tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        checked(tables, tmp_path, **change)
