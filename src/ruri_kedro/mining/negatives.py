"""Which of a query's candidates are negatives, and which are positives nobody has marked (Ruri, Section 3.1)."""

import random
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from ruri_kedro.errors import RecipeError, require_whole
from ruri_kedro.recipe.stage_rows import Window
from ruri_kedro.text.normalize import match_key


@dataclass(frozen=True)
class ChoiceRules:
    """How negatives are chosen.

    window: the ranks they are drawn from; n: how many; fill: whether ranks outside the window stand in where it has
    too few; mine_window: the ranks in which a document with an answer becomes a positive, None for no mining;
    max_mined: how many at most per query; min_answer_chars: an answer with a shorter match key mines and bars nothing,
    since it stands in nearly every text;
    max_score_ratio: only documents scored below this share of the positive's score are negatives, None for all
    (NV-Retriever, arXiv 2407.15831: TopK-PercPos, 0.95).
    """

    window: Window
    n: int
    fill: bool
    mine_window: Window | None
    max_mined: int
    min_answer_chars: int
    max_score_ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("n", "max_mined", "min_answer_chars"):
            require_whole({"n": "negatives"}.get(name, name), getattr(self, name), 0)
        if not isinstance(self.fill, bool):
            raise RecipeError(f"fill={self.fill}: true or false.")
        if self.max_score_ratio is not None and not 0 < self.max_score_ratio <= 1:
            raise RecipeError(f"max_score_ratio={self.max_score_ratio}: above 0 and at most 1, or null for no limit.")


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
    keys: Mapping[str, str],
    *,
    positives: Collection[str],
    answers: Iterable[str],
    rules: ChoiceRules,
    seed: str,
    barred: Container[str] = (),
) -> Choice:
    """Negatives and mined positives of one query among its candidates `ranked`, docids best first.

    `keys` has the match key of every candidate's text and of the `positives` (docids), by docid: a key costs 29
    microseconds per 400 characters and the same documents are candidates of many queries. An empty key says that the
    document is not to be chosen. Neither a negative nor mined is a document of `positives` or with the text of one. A
    document with one of `answers` is never a negative, since it may well answer the query, and none of `barred` is
    (docids, such as those too near by `max_score_ratio`), but may be mined. No two documents chosen have the same text.
    Texts and answers are compared by `match_key`. The draw is a function of `seed` and the other arguments. Source:
    Ruri, Section 3.1.
    """
    taken = {"", *map(keys.__getitem__, positives)}
    answer_keys = {key for key in map(match_key, answers) if key and len(key) >= rules.min_answer_chars}

    def allowed(docids: Iterable[str]) -> Iterable[str]:
        return (docid for docid in docids if docid not in barred) if barred else docids

    # Positives found by an answer, from the first ranks.
    mined = _pick(_mined_ranks(ranked, rules), keys, set(taken), answer_keys, True, rules.max_mined)
    # Negatives drawn from the window, and from the nearest ranks outside where there are too few.
    window = _pick(allowed(rules.window.of(ranked)), keys, taken, answer_keys, False)
    negatives = random.Random(seed).sample(window, min(rules.n, len(window)))
    if rules.fill and len(negatives) < rules.n:
        outside = allowed(_outwards(ranked, rules.window))
        negatives += _pick(outside, keys, taken, answer_keys, False, rules.n - len(negatives))
    return Choice(negatives, mined, max(0, len(window) - rules.n))


def given_negatives(given: Sequence[str], keys: Mapping[str, str], positives: Collection[str], n: int) -> list[str]:
    """The first `n` of a pair's own negatives that may be one, in their order.

    As in `choose_negatives`, none is a document of `positives` or has the text of one, no two have the same text, and
    an empty key says that the document is not to be chosen. What holds an answer stays: somebody has judged it.
    """
    return _pick(given, keys, {"", *map(keys.__getitem__, positives)}, (), False, n)


def random_negatives(pool: Sequence[str], exclude: Collection[str], n: int, seed: str) -> list[str]:
    """`n` distinct docids of `pool` that are not in `exclude`, in the order drawn; fewer if there are fewer.

    Takes time in the order of n, and does not copy the pool, unless most of it is excluded or asked for. The draw
    is a function of `seed` and the other arguments.
    """
    rng = random.Random(seed)
    barred = set(exclude)
    drawn: dict[str, None] = {}
    # Half of the draws hit where at most half of the pool is barred, so this many fail by chance hardly ever.
    for _ in range(4 * n + 64 if pool else 0):
        if len(drawn) >= n:
            return list(drawn)
        docid = pool[rng.randrange(len(pool))]
        if docid not in barred:
            drawn[docid] = None
    left = [docid for docid in dict.fromkeys(pool) if docid not in barred and docid not in drawn]
    return [*drawn, *rng.sample(left, min(n - len(drawn), len(left)))]


def _pick(
    docids: Iterable[str],
    keys: Mapping[str, str],
    taken: set[str],
    answer_keys: Collection[str],
    answering: bool,
    most: int | None = None,
) -> list[str]:
    """The first `most` (None: all) docids whose key holds an answer, or, unless `answering`, holds none.

    No two of them have the same key, none has one that is `taken`; all keys that were looked at are added to it. Plain
    loops, since they run for every candidate of every query.
    """
    picked: list[str] = []
    for docid in docids:
        if len(picked) == most:
            break
        key = keys[docid]
        if key in taken:
            continue
        taken.add(key)
        holds = False
        for answer in answer_keys:
            if answer in key:
                holds = True
                break
        if holds is answering:
            picked.append(docid)
    return picked


def _mined_ranks(ranked: Sequence[str], rules: ChoiceRules) -> Sequence[str]:
    return rules.mine_window.of(ranked) if rules.mine_window else ()


def _outwards(ranked: Sequence[str], window: Window) -> Iterator[str]:
    """The docids outside the window: those after it, then those before it, nearest first."""
    return chain(ranked[window.last :], reversed(ranked[: window.first - 1]))
