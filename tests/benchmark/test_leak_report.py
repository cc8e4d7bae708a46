"""Counts of leaks, and the page with examples."""

import re

from leak_rules import EDITED, EMBEDDED, LONG, leaks_of

from ruri_kedro.benchmark.leaks.report import choose_examples, excerpts, leak_counts, leak_report

ROWS = [
    {"test": "jsquad", "role": "query", "item_id": "q", "text": LONG},
    {"test": "jsts", "role": "text", "item_id": "0", "text": LONG},
]
LEAKS = {
    "web": leaks_of(
        [(LONG, "別の文章。"), (EDITED, EMBEDDED), (LONG, "違う文章。"), ("何もない。", "何もない。")], ROWS
    ),
    "wiki": leaks_of([("何もない。", "違う文章。")], ROWS),
}
PAIRS = {"web": 4, "wiki": 1}


def test_a_pair_counts_once_in_each_row_that_it_is_in():
    table = leak_counts(LEAKS, PAIRS).set_index(["source", "test", "kind", "part", "role"])
    assert table["removed"].to_dict() == {
        ("web", "jsquad", "contained", "positive", "query"): 0,
        ("web", "jsquad", "exact", "anchor", "query"): 2,
        ("web", "jsquad", "near", "anchor", "query"): 1,
        ("web", "jsts", "contained", "positive", "text"): 1,
        ("web", "jsts", "exact", "anchor", "text"): 2,
        ("web", "jsts", "near", "anchor", "text"): 1,
    }
    assert table["reported"].sum() == 1
    assert table.loc[("web", "jsquad", "exact", "anchor", "query"), "removed_share"] == 0.5


def test_no_leak_is_an_empty_table_with_its_columns():
    table = leak_counts({"wiki": []}, PAIRS)
    assert len(table) == 0 and {"source", "test", "kind", "removed", "reported"} <= set(table.columns)
    assert leak_report(table, {"wiki": 0}, {"wiki": 1}, []).endswith("| wiki | 1 | 0 | 0.00% |\n")


def test_examples_are_different_texts_of_every_kind():
    chosen = choose_examples(LEAKS, 2)
    groups = [(row["test"], row["kind"], row["part"]) for row in chosen]
    assert len(groups) == len(set(groups)) == 6  # the same text twice is one example
    assert all(row["source"] == "web" for row in chosen)


def test_the_page_shows_every_example_with_both_texts():
    examples = [{**row, "training_text": row["docid"], "test_text": LONG} for row in choose_examples(LEAKS, 1)]
    page = leak_report(leak_counts(LEAKS, PAIRS), {"web": 3, "wiki": 0}, PAIRS, examples)
    assert "| web | 4 | 3 | 75.00% |" in page
    assert page.count("### ") == page.count("  - training: ") == page.count("  - test: ") == 6
    assert "### web, jsquad: positive contained query (reported)" in page


def test_excerpts_begin_where_the_texts_meet():
    first, second = excerpts("前置き。" * 60 + LONG + "後書き。" * 60, LONG)
    assert LONG in first and second == LONG
    assert first.startswith("…") and first.endswith("…") and len(first) == 122


def test_text_is_shown_letter_by_letter():
    examples = [{**LEAKS["web"][0], "source": "web", "training_text": "a_b*|<c>", "test_text": "`d`\\"}]
    page = leak_report(leak_counts(LEAKS, PAIRS), {"web": 3}, {"web": 4}, examples)
    assert re.findall(r"  - (?:training|test): (.*)", page) == [r"a\_b\*\|\<c\>", r"\`d\`\\"]
