"""The examples that were trained on are searched by their own texts, whatever was left out before."""

import pytest
from leak_rules import EDITED, EMBEDDED, LONG, RULES

from ruri_kedro.benchmark.leaks.examples import example_leaks
from ruri_kedro.tables import SCHEMAS, Part, write_table

QUERY = "青葉城の石垣は誰が積み直したのですか。"
CLEAN = ["海辺の町には古い灯台がある。", "列車は朝の六時に出る。", "図書館は月曜日に休む。"]
TESTS = [
    {"test": "castle", "role": "query", "item_id": "1", "text": QUERY},
    {"test": "castle", "role": "query", "item_id": "2", "text": "城主"},  # too short to count by itself
    {"test": "castle", "role": "positive", "item_id": "2", "text": LONG},
    {"test": "castle", "role": "passage", "item_id": "9", "text": CLEAN[2]},
    {"test": "sts", "role": "text", "item_id": "3", "text": "猫が窓辺で静かに眠っている。"},
]


def search(tmp_path, *rows, tests=TESTS, missing=()):
    """What is found of examples (anchor, positive, *negatives) of a stage; each text is its own docid."""
    ids = {text: str(number) for number, text in enumerate(dict.fromkeys(text for row in rows for text in row))}
    passages = [{"docid": docid, "source": "s", "title": "", "section": "", "text": text}
                for text, docid in ids.items() if text not in missing]  # fmt: skip
    examples = [
        {"example_id": str(number), "pair_id": "p", "query_id": "q", "source": "s", "objective": "contrastive",
         "split": "validation" if number == len(rows) else "train", "anchor": ids[anchor], "positive": ids[positive],
         "negatives": [ids[text] for text in negatives], "shuffled": False}
        for number, (anchor, positive, *negatives) in enumerate([*rows, rows[0]])
    ]  # fmt: skip
    tables = {"passages": passages, "test_texts": tests, "examples": examples}
    made = {
        name: write_table(tmp_path / name, SCHEMAS[name], {"s": Part("k", lambda given=given: [given])})
        for name, given in tables.items()
    }
    found = example_leaks(made["passages"], made["test_texts"], {"finetuning": made["examples"]}, RULES)
    return found["finetuning"]


def test_leaks_planted_in_every_part_of_an_example_are_found(tmp_path):
    near, inside = TESTS[-1]["text"].replace("静か", "静 か"), f"日記に「{QUERY}」とある。"
    found = search(
        tmp_path,
        (QUERY, CLEAN[0], CLEAN[1]),  # the anchor
        (inside, CLEAN[0]),  # an anchor that holds a query asks the same
        (CLEAN[0], near, CLEAN[1]),  # a positive, given or mined
        (CLEAN[0], CLEAN[1], CLEAN[2], near),  # a negative that was drawn
        (CLEAN[0], CLEAN[1], near, QUERY),  # two of them
        ("城主", EDITED, CLEAN[0]),  # a short query with its positive
        (CLEAN[0], CLEAN[1], CLEAN[2]),  # a passage of a test's collection is seen text, and reported before
        (CLEAN[0], inside, EMBEDDED),  # a passage that merely holds a query's words
        ("城主", CLEAN[0], CLEAN[1]),
    )
    parts = {"anchor": 2, "positive": 1, "negative": 2, "pair": 1}
    assert found == {"examples": 9, "leaked": 6, "parts": dict(sorted(parts.items())), "unsearched": 0}


def test_without_tests_nothing_is_searched_for(tmp_path):
    assert search(tmp_path, (QUERY, LONG), tests=[]) == {"examples": 1, "leaked": 0, "parts": {}, "unsearched": 0}


@pytest.mark.parametrize("tests", [TESTS, []])
def test_examples_whose_texts_are_gone_are_counted(tmp_path, tests):
    found = search(tmp_path, (CLEAN[0], CLEAN[1]), (CLEAN[0], CLEAN[2], LONG), tests=tests, missing=[LONG])
    assert found["unsearched"] == 1 and found["examples"] == 2
