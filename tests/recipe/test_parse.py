"""A block of parameters: what is refused, and what is said of it."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, Share, parameters, parse


@parameters
class Ranks:
    first: Count
    last: Count

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise RecipeError(f"first={self.first} lies behind last={self.last}.")


@parameters
class Search:
    depth: Count
    share: Share
    engine: Literal["lucene", "bm25s"]
    devices: Count | Literal["auto"]
    dims: tuple[Count, ...] | None
    window: Ranks
    weights: Mapping[str, float]
    stages: Mapping[str, Ranks]
    second: Ranks | None = None


GOOD = {
    "depth": 3, "share": 1, "engine": "lucene", "devices": "auto", "dims": [4, 2],
    "window": {"first": 1, "last": 2}, "weights": {"日本": 0.5}, "stages": {"a": {"first": 1, "last": 1}},
}  # fmt: skip


def test_a_block_becomes_a_frozen_dataclass():
    found = parse(Search, GOOD, "search")
    assert found == Search(3, 1.0, "lucene", "auto", (4, 2), Ranks(1, 2), {"日本": 0.5}, {"a": Ranks(1, 1)})
    with pytest.raises(FrozenInstanceError):
        found.depth = 4


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"depth": 0}, "search.depth: 0 is given, expected is greater than or equal to 1."),
        ({"depth": True}, "search.depth: true is given, expected is a valid integer."),
        ({"depth": 2.5}, "search.depth: 2.5 is given, expected is a valid integer."),
        ({"share": float("nan")}, "search.share: NaN is given, expected is a finite number."),
        ({"share": "1e-3"}, 'search.share: "1e-3" (text; a number such as 1e-3 is written 1.0e-3 in YAML) is given, '
                            "expected is a valid number."),
        ({"engine": "tantivy"}, "search.engine: \"tantivy\" is given, expected is 'lucene' or 'bm25s'."),
        ({"devices": "all"}, "search.devices: \"all\" is given, expected is a valid integer or 'auto'."),
        ({"dims": [4, "2"]}, 'search.dims.1: "2" (text; a number such as 1e-3 is written 1.0e-3 in YAML) is given, '
                             "expected is a valid integer."),
        ({"window": {"first": 1}}, "search.window.last: missing."),
        ({"window": {"first": 1, "lost": 2}}, "search.window.lost: there is no such parameter. Did you mean last?"),
        ({"window": {"first": 3, "last": 2}}, "search.window: first=3 lies behind last=2."),
        ({"weights": {"a": "b"}}, 'search.weights.a: "b" is given, expected is a valid number.'),
        ({"weights": {1: 0.5}}, "search.weights.1: a key must be text. Put it in quotes."),
        ({"stages": {"a": {"first": 1, "lasst": 1}}},
         "search.stages.a.lasst: there is no such parameter. Did you mean last?"),
        ({"second": {"frst": 1, "last": 2}}, "search.second.frst: there is no such parameter. Did you mean first?"),
        ({"dpeth": 3}, "search.dpeth: there is no such parameter. Did you mean depth?"),
        ({"k": 3}, "search.k: there is no such parameter. Allowed: depth, share, engine, devices, dims, window, "
                   "weights, stages, second."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_value(change, line):
    with pytest.raises(RecipeError) as caught:
        parse(Search, GOOD | change, "search")
    assert line in str(caught.value).splitlines()


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(RecipeError) as caught:
        parse(Search, {"depth": -1, "engine": "x"}, "search")
    told = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert set(told) == {f"search.{key}" for key in GOOD}


def test_a_block_is_not_a_value():
    with pytest.raises(RecipeError, match=r"search\.window: null is given, a block of keys is expected: first, last\."):
        parse(Ranks, None, "search.window")


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_key_with_one_letter_changed_is_refused(key, data):
    place = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz").filter(lambda c: c != key[place]))
    wrong = key[:place] + letter + key[place + 1 :]
    with pytest.raises(RecipeError) as caught:
        parse(Search, {wrong: GOOD[key], **{k: v for k, v in GOOD.items() if k != key}}, "search")
    assert f"search.{wrong}: there is no such parameter." in str(caught.value) and key in str(caught.value)
