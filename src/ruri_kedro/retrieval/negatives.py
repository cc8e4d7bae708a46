"""Which of a query's candidates are negatives, and which are positives nobody has marked (Ruri, Section 3)."""

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ruri_kedro.errors import RecipeError
from ruri_kedro.text.normalize import match_key


@dataclass(frozen=True)
class Window:
    """Ranks `first` to `last` of a ranking, both included, from 1 (the paper: 30 to 100)."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise RecipeError(f"ranks {self.first} to {self.last}: ranks start at 1 and do not fall.")

    def of(self, ranked: Sequence[str]) -> Sequence[str]:
        """The part of a ranking (best first) inside the window."""
        return ranked[self.first - 1 : self.last]


@dataclass(frozen=True)
class ChoiceRules:
    """How negatives are chosen.

    window: the ranks they are drawn from; n: how many; fill: whether ranks outside the window stand in where it has
    too few; mine_window: the ranks in which a document with an answer becomes a positive, None for no mining;
    max_mined: how many at most per query; min_answer_chars: an answer with a shorter match key mines nothing.
    """

    window: Window
    n: int
    fill: bool
    mine_window: Window | None
    max_mined: int
    min_answer_chars: int


@dataclass(frozen=True)
class Choice:
    """Docids chosen for one query.

    `negatives` stand in the order they were drawn, so their first m are a sample of m; those from outside the window
    come last. `mined_positives` stand by rank. `candidates_left` is how many documents of the window could have been
    drawn as well.
    """

    negatives: list[str]
    mined_positives: list[str]
    candidates_left: int


def choose_negatives(
    ranked: Sequence[str],
    texts: Mapping[str, str],
    *,
    positives: Collection[str],
    positive_texts: Iterable[str],
    answers: Iterable[str],
    rules: ChoiceRules,
    seed: str,
) -> Choice:
    """Negatives and mined positives of one query among its candidates `ranked`, docids best first.

    `texts` has the text of every candidate, by docid. Neither a negative nor mined is a document of `positives`
    (docids) or with the text of one of `positive_texts`. A document with one of `answers` is never a negative, since
    it may well answer the query. No two documents chosen have the same text. Texts and answers are compared by
    `match_key`. The draw is a function of `seed` and the other arguments. Source: Ruri, Section 3: negatives are
    drawn from ranks 30 to 100, and a candidate that holds the answer is taken as a positive.
    """
    known_keys = {match_key(text) for text in positive_texts}
    answer_keys = {key for key in map(match_key, answers) if key}
    new = _Unchosen(texts, frozenset(positives), known_keys)
    mined = _mine(ranked, new, answer_keys, rules)
    window = [docid for docid, key in new.take(rules.window.of(ranked)) if not _has(key, answer_keys)]
    drawn = random.Random(seed).sample(window, min(rules.n, len(window)))
    if rules.fill and len(drawn) < rules.n:
        outside = (d for d, key in new.take(_outside(ranked, rules.window)) if not _has(key, answer_keys))
        drawn += islice(outside, rules.n - len(drawn))
    return Choice(drawn, mined, max(0, len(window) - rules.n))


class _Unchosen:
    """Candidates whose text is neither a known positive's nor taken before."""

    def __init__(self, texts: Mapping[str, str], positives: frozenset[str], known_keys: set[str]):
        self._texts = texts
        self._positives = positives
        self._taken_keys = set(known_keys)

    def take(self, docids: Iterable[str]) -> Iterator[tuple[str, str]]:
        """(docid, match key) of those of `docids` that are left; each of them is taken then."""
        for docid in docids:
            if docid in self._positives:
                continue
            key = match_key(self._texts[docid])
            if key not in self._taken_keys:
                self._taken_keys.add(key)
                yield docid, key


def _mine(ranked: Sequence[str], new: _Unchosen, answer_keys: set[str], rules: ChoiceRules) -> list[str]: ...


def random_negatives(pool: Sequence[str], exclude: Collection[str], n: int, seed: str) -> list[str]: ...
