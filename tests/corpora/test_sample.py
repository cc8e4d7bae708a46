"""The shipped sample corpus: reproducible, consistent, and neither trivial nor unlearnable."""

import gzip
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from ruri_kedro.corpora.sample import SEED, generate
from ruri_kedro.tables.raw import read_rows, write_rows

SHIPPED = Path(__file__).parents[2] / "data" / "01_raw" / "sample"
SPLITS = ("train", "validation", "test")
COUNTS = {
    "articles": (1800, 2300),
    "questions/train": (3800, 4200),
    "questions/validation": (380, 420),
    "questions/test": (570, 630),
    "inference/train": (7200, 7700),
    "inference/validation": (780, 880),
    "edits/train": (1400, 1600),
    "news/train": (1000, 1200),
    "news/validation": (80, 150),
    "sts/train": (1400, 1600),
    "sts/validation": (280, 320),
    "sts/test": (480, 520),
}


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, list[dict]], float]:
    """The tables as generated now, and the processor seconds that took."""
    start = time.process_time()
    tables = generate(SEED)
    return tables, time.process_time() - start


@pytest.fixture(scope="module")
def tables(made) -> dict[str, list[dict]]:
    return made[0]


@pytest.fixture(scope="module")
def paragraphs(tables) -> dict[str, tuple[str, str, str]]:
    """Title, section and text of every paragraph by context id."""
    found = {}
    for article in tables["articles"]:
        for s, section in enumerate(article["sections"]):
            for p, text in enumerate(section["paragraphs"]):
                found[f"{article['article_id']}-{s}-{p}"] = (article["title"], section["section"], text)
    return found


def questions(tables, *splits: str) -> list[dict]:
    return [row for split in splits or SPLITS for row in tables[f"questions/{split}"]]


def bigrams(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(len(text) - 1)}


def overlap(one: str, two: str) -> float:
    return len(bigrams(one) & bigrams(two)) / len(bigrams(one) | bigrams(two))


def test_shipped_files_are_what_the_generator_writes(tables, tmp_path):
    for name, rows in tables.items():
        written = write_rows(tmp_path / f"{name}.jsonl.gz", rows)
        # Contents, not archives: zlib may pack the same bytes differently from one build to the next.
        assert gzip.decompress(written.read_bytes()) == gzip.decompress((SHIPPED / f"{name}.jsonl.gz").read_bytes())
    shipped = {path.relative_to(SHIPPED).as_posix() for path in SHIPPED.rglob("*.gz")}
    assert shipped == {f"{name}.jsonl.gz" for name in tables}


def test_archives_say_nothing_of_when_and_where(tmp_path):
    packed = write_rows(tmp_path / "rows.jsonl.gz", [{"text": "霧"}]).read_bytes()
    assert packed[3] == 0 and packed[4:8] == bytes(4)  # no file name, no time
    assert list(read_rows(tmp_path / "rows.jsonl.gz", {})) == [(1, {"text": "霧"})]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl.gz"]


def test_generation_is_quick_and_small(made):
    assert made[1] < 20
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 3_000_000


@pytest.mark.long
def test_another_seed_tells_another_world(tables):
    titles = {row["title"] for row in generate(7)["articles"]}
    assert len(titles & {row["title"] for row in tables["articles"]}) < len(titles) / 2


def test_counts(tables, paragraphs):
    assert set(tables) == set(COUNTS)
    for name, (least, most) in COUNTS.items():
        assert least <= len(tables[name]) <= most, name
    assert 6000 <= len(paragraphs) <= 9000
    assert 6 <= len({article["category"] for article in tables["articles"]}) <= 9


def test_ids_are_unique_and_no_text_is_empty(tables):
    for name, rows in tables.items():
        for key in ("article_id", "qid", "docid"):
            ids = [row[key] for row in rows if key in row]
            assert len(ids) == len(set(ids)), name
        for row in rows:
            assert all(value for key, value in row.items() if key != "score"), (name, row)
            assert "{" not in str(list(row.values())).replace("[{", "").replace(", {", ""), (name, row)


def test_articles_have_their_form(tables):
    for article in tables["articles"]:
        assert 1 <= len(article["sections"]) <= 4, article["title"]
        for section in article["sections"]:
            assert 1 <= len(section["paragraphs"]) <= 3, article["title"]
            for text in section["paragraphs"]:
                assert 60 <= len(text) <= 250 and text.count("。") >= 2 and text.endswith("。"), text


def test_paragraphs_and_titles_are_distinct(tables, paragraphs):
    assert len({text for _, _, text in paragraphs.values()}) == len(paragraphs)
    assert len({article["title"] for article in tables["articles"]}) == len(tables["articles"])


def test_questions_are_answered_by_their_paragraph(tables, paragraphs):
    for row in questions(tables):
        assert paragraphs[row["context_id"]] == (row["title"], row["section"], row["context"])
        assert any(answer in row["context"] for answer in row["answers"]), row
        assert not any(answer in row["question"] for answer in row["answers"]), row


def test_question_splits_share_no_article_and_no_question(tables):
    articles = [{row["context_id"].split("-")[0] for row in questions(tables, split)} for split in SPLITS]
    assert not (articles[0] & articles[1] or articles[0] & articles[2] or articles[1] & articles[2])
    asked = Counter(row["question"] for row in questions(tables))
    assert max(asked.values()) == 1


def test_inference_rows_come_in_triples(tables):
    for split in ("train", "validation"):
        rows = tables[f"inference/{split}"]
        neutral = [row for row in rows if row["label"] == "neutral"]
        triples = rows[: len(rows) - len(neutral)]
        assert len(neutral) in range(30, 320)
        for entailed, contradicted in zip(triples[::2], triples[1::2], strict=True):
            assert entailed["premise"] == contradicted["premise"]
            assert (entailed["label"], contradicted["label"]) == ("entailment", "contradiction")
            assert entailed["hypothesis"] != contradicted["hypothesis"]


def test_contradictions_are_not_told_by_negation_alone(tables):
    hypotheses = [row["hypothesis"] for row in tables["inference/train"] if row["label"] == "contradiction"]
    negated = [text for text in hypotheses if re.search(r"ない|なかった|ず、|せず", text)]
    assert len(negated) < 0.5 * len(hypotheses)


def test_similarity_is_not_lexical_overlap(tables):
    rows = [(row["score"], overlap(row["text1"], row["text2"])) for row in tables["sts/test"]]
    assert {round(score) for score, _ in rows} == set(range(6))
    alike_and_apart = [score for score, shared in rows if shared > 0.35 and score <= 1.5]
    unlike_and_same = [score for score, shared in rows if shared < 0.35 and score >= 4.5]
    assert len(alike_and_apart) >= 20 and len(unlike_and_same) >= 20


def test_splits_share_no_names(tables):
    """The regions of the world are closed: names of people and places of one do not occur in texts of another."""
    by_split = {split: {row["title"] for row in questions(tables, split)} for split in SPLITS}
    named = {row["title"] for row in tables["articles"] if row["category"] in ("人物", "地理")}
    train = by_split["train"] & named
    texts = [str(row) for split in ("validation", "test") for row in tables[f"sts/{split}"]]
    texts += [str(row) for row in tables["inference/validation"]]
    assert not [title for title in train if any(title in text for text in texts)]


def test_wordings_and_characters_of_test_questions_occur_in_training(tables):
    """What a question asks must be learnable from other entities; only the names are new."""

    def wordings(split: str) -> Counter:
        masked = Counter()
        for row in questions(tables, split):
            if row["title"] in row["question"]:
                masked[row["question"].split(row["title"])[-1]] += 1
        return masked

    train, test = wordings("train"), wordings("test")
    seen = set().union(*(bigrams(tail) for tail in train))
    met = [len(bigrams(tail) & seen) / len(bigrams(tail)) for tail in test.elements() if len(tail) > 1]
    assert sum(met) / len(met) > 0.95
    seen = set("".join(row["title"] for row in questions(tables, "train")))
    named = "".join(row["title"] for row in questions(tables, "test"))
    assert sum(character in seen for character in named) > 0.97 * len(named)
