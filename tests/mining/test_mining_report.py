"""The report on negatives: figures counted by hand, and a page that stands alone."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from whole_source import candidates_by

from ruri_kedro.mining.examples import StageRecipe
from ruri_kedro.mining.negatives import ChoiceRules, Window
from ruri_kedro.mining.report import _SAMPLED, bigram_overlap, mining_page, report_source, rows_of

RULES = ChoiceRules(Window(2, 4), n=2, fill=True, mine_window=None, max_mined=0, min_answer_chars=2)
RECIPE = StageRecipe.of("finetuning", {"negatives": "bm25"}, "contrastive", RULES)
TEXTS = {f"d{i}": f"本文{i}" for i in range(1, 6)} | {"q": "問い<b>", "gold": "正解の本文"}


def example(number, negatives, shuffled=False, objective="contrastive", split="train"):
    return {"example_id": f"e{number}", "query_id": "q", "anchor": "q", "positive": "gold", "negatives": negatives,
            "shuffled": shuffled, "split": split, "objective": objective}  # fmt: skip


def report(*rows, recipe=RECIPE, mined=3, expected=None):
    found = candidates_by([f"d{i}" for i in range(1, 6)], bm25=[1, 2, 3, 4, 5])
    asked = []

    def texts(docids):
        asked.append(docids)
        return {docid: TEXTS[docid] for docid in docids}

    made = report_source("s", recipe, ((row, found) for row in rows), mined, texts, expected)
    assert len(asked) == 1
    return made


def test_the_papers_count_stands_beside_the_rows_of_training_with_copies():
    rows = [example(1, ["d2"]), example(1, ["d2"], shuffled=True), example(2, ["d2"], split="validation")]
    made = report(*rows, expected=1234)
    assert (made.figures.train_rows, made.figures.expected_rows, made.figures.examples) == (2, 1234, 2)
    page = mining_page("t", [made])
    assert "<th>expected rows</th>" in page and "1,234" in page
    assert report(*rows).figures.expected_rows is None


def test_figures_are_those_counted_by_hand():
    rows = [example(1, ["d2", "d3"]), example(2, ["d4", "d5"]), example(3, ["d3"]), example(4, [])]
    rows += [example(5, ["d1"], shuffled=True), example(6, ["d1"], objective="distillation")]
    made = report(*rows)
    figures = made.figures
    assert (figures.examples, figures.asked, figures.negatives, figures.mined_positives) == (4, 2, 5, 3)
    assert (figures.too_few, figures.none, figures.filled) == (0.5, 0.25, 0.2)
    assert (figures.lowest_rank, figures.median_rank, figures.highest_rank) == (2, 3, 5)
    assert made.by_rank == {2: 1, 3: 2, 4: 1, 5: 1}
    assert "20.0%" in made.what_was_done
    assert figures.overlap_with_positive == pytest.approx(1 / 5)  # 本文 of 本文 文n 正解 解の の本 less the shared one
    assert figures.overlap_with_query == 0


def test_what_is_not_searched_has_no_ranks():
    given = replace(RECIPE, strategy="given")
    figures = report(example(1, ["d2"]), recipe=given).figures
    assert (figures.lowest_rank, figures.filled, figures.too_few) == (None, 0, 1)


def test_examples_of_the_same_id_are_counted_each():
    """As two rows of a source with the same objective make them, more than the report shows."""
    figures = report(*(example(1, ["d2"]) for _ in range(3 * _SAMPLED))).figures
    assert figures.examples == 3 * _SAMPLED


def test_a_source_without_examples_has_a_row():
    (row,) = rows_of([report()])
    assert (row["examples"], row["too_few"], row["median_rank"], row["overlap_with_query"]) == (0, 0, None, None)


def test_bars_count_every_negative():
    rows = [example(i, [f"d{1 + i % 5}"]) for i in range(50)]
    assert sum(count for _, count in report(*rows).bars) == 50


def test_the_page_stands_alone_and_shows_texts_as_they_are():
    page = mining_page("Negatives", [report(example(1, ["d2", "d5"])), report()])
    loaded = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            loaded.extend(value for name, value in attrs if name in ("src", "href"))

    Parser().feed(page)
    assert loaded == [] and page.count("<script") == 1, "the page's own"
    assert "問い&lt;b&gt;" in page and "<b>2</b> 本文2" in page and "<b>5</b> 本文5" in page


@pytest.mark.parametrize(("one", "other", "share"), [("", "", 0), ("本文", "本文", 1), ("ＡＢＣ", "ab。d", 1 / 3)])
def test_overlap_is_that_of_bigrams(one, other, share):
    assert bigram_overlap(one, other) == pytest.approx(share)
