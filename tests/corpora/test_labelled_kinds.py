"""Kinds whose pairs have labels made of what a row says."""

from ruri_kedro.corpora.kinds import KINDS


def drafts(kind, rows, labels=None):
    """(anchor, other text, label) of each pair."""
    made = KINDS[kind].drafts(rows, labels or {})
    return [(draft.anchor.full, draft.positive.full, draft.label) for draft in made]


def test_inference_has_a_number_for_each_meaning():
    rows = [{"premise": "犬が走る", "hypothesis": text, "label": label}
            for text, label in (("動物が動く", 0), ("黒い犬だ", 1), ("犬が寝る", 2), ("猫だ", "-"))]  # fmt: skip
    labels = {"0": "entailment", "1": "neutral", "2": "contradiction"}
    found = drafts("labelled_inference", rows, labels)
    assert found == [("犬が走る", "動物が動く", 1.0), ("犬が走る", "黒い犬だ", 0.5), ("犬が走る", "犬が寝る", 0.0)]


def test_half_of_judged_pairs_are_positive_and_no_negative_is_the_rows_own_positive():
    rows = [{"anchor": f"問{i}", "positive": f"答{i % 7}", "negatives": ["違う", "別"] if i == 3 else []}
            for i in range(40)]  # fmt: skip
    found = drafts("judged_pair", rows)
    assert [label for *_, label in found] == [1.0, 0.0] * 40
    assert found[6:8] == [("問3", "答3", 1.0), ("問3", "違う", 0.0)]
    for (anchor, positive, _), (same, negative, _) in zip(found[::2], found[1::2], strict=True):
        assert anchor == same and positive != negative
    assert len({text for _, text, label in found if label == 0.0}) == 8, "all positives are drawn, and one was given"
    assert found == drafts("judged_pair", rows)
    assert drafts("judged_pair", rows[:1]) == [("問0", "答0", 1.0)], "there is nothing to draw from"
