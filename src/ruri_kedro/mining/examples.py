"""From pairs and candidates to the examples a stage trains on, and the pairs that were mined on the way."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ruri_kedro.errors import RecipeError
from ruri_kedro.mining.candidates import Candidates
from ruri_kedro.mining.negatives import (
    Choice,
    ChoiceRules,
    choose_negatives,
    given_negatives,
    random_negatives,
)
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stage_rows import StageRow
from ruri_kedro.text.hashing import stable_id, unit_interval
from ruri_kedro.text.normalize import match_key

TRAIN = "train"


@dataclass(frozen=True)
class StageRecipe:
    """How one source takes part in one stage."""

    stage: str
    objective: str
    strategy: str  # one of STRATEGIES
    rules: ChoiceRules
    shuffled_copy: bool  # each example once more, its positive's sentences in another order
    share: float  # of the source's pairs that take part
    mined: bool  # whether pairs whose positive was mined take part, too
    max_rows: int | None = None  # pairs of training that take part, the first
    triplets: bool = False  # an example for each negative of a pair of training, in place of one with all of them

    @staticmethod
    def of(stage: str, row: Mapping, objective: str, rules: ChoiceRules, source: str = "*") -> "StageRecipe":
        """From a row of a source's parameters for the stage, and the stage's objective and rules where it has none.

        `count`, `window`, `fill` and `max_score_ratio` of the row go before those of the rules. Positives are mined
        before (`mine_pairs`), not here.
        """
        place = f"sources.{source}.stages.{stage}"
        given = parse(StageRow, row, place)
        # A null that is written takes the limit of the stage away.
        own = {"max_score_ratio": given.max_score_ratio} if "max_score_ratio" in row else {}
        own |= {name: getattr(given, name) for name in ("fill", "window") if getattr(given, name) is not None}
        rules = replace(rules, n=rules.n if given.count is None else given.count, mine_window=None, **own)
        if rules.max_score_ratio is not None and given.negatives == "bm25":
            raise RecipeError(
                f"{place}: max_score_ratio compares cosines, which negatives: bm25 have not. Take dense or rrf, or add "
                "max_score_ratio: null to the row."
            )
        return StageRecipe(
            stage,
            given.objective or objective,
            given.negatives,
            rules,
            given.shuffled_copy,
            given.share,
            given.mined,
            given.max_rows,
            given.triplets,
        )


class MatchKeys(dict[str, str]):
    """Match key by docid, computed when it is first asked for; empty where it is among `barred`."""

    def __init__(self, texts: Mapping[str, str], barred: Container[str] = ()) -> None:
        super().__init__()
        self._texts = texts
        self._barred = barred

    def __missing__(self, docid: str) -> str:
        key = match_key(self._texts[docid])
        self[docid] = key = "" if key in self._barred else key
        return key


class HeldOut(Container[str]):
    """Match keys of the held-out positives, of which digests are kept.

    Training never sees them, not even as negatives: a model that learns what is never the answer would be validated on
    just those.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = {stable_id(key) for key in keys}

    def __contains__(self, key: str) -> bool:
        return bool(self._digests) and stable_id(key) in self._digests

    def __len__(self) -> int:
        return len(self._digests)


@dataclass(frozen=True)
class SourcePairs:
    """What is known of some of a source's pairs, all pairs of their queries among it, when negatives are chosen."""

    source: str
    pairs: Sequence[dict]  # rows of the pairs table, without those a test knows; a question may have no positive yet
    positives: Mapping[str, Sequence[str]]  # every known positive by query_id
    texts: Mapping[str, str]  # by docid: anchors, positives, candidates and, where they are asked for, given negatives
    candidates: Mapping[str, Candidates] = field(default_factory=dict)  # by query_id
    held_out: Container[str] = ()  # match keys of the source's held-out positives
    pool: Sequence[str] = ()  # the source's distinct positives of training, from which random negatives are drawn

    def keys_for(self, split: str) -> MatchKeys:
        """Match keys of the texts, each computed once; those of held-out positives are empty for training."""
        return self._train_keys if split == TRAIN else self._keys

    @cached_property
    def _keys(self) -> MatchKeys:
        return MatchKeys(self.texts)

    @cached_property
    def _train_keys(self) -> MatchKeys:
        return MatchKeys(self.texts, self.held_out)


def positives_by_query(pairs: Iterable[Mapping]) -> dict[str, list[str]]:
    """Docids of the known positives by query_id, in order of the pairs; a question may have none yet."""
    known: dict[str, list[str]] = {}
    for row in pairs:
        known.setdefault(row["query_id"], []).extend([row["positive"]] if row["positive"] else [])
    return known


def mine_pairs(known: SourcePairs, rules: ChoiceRules, seed: int) -> Iterator[dict]:
    """New pairs: candidates that contain an answer of their query, `origin` mined (Ruri, Section 3.1).

    Their ranks are those of all retrievers that were used, fused.
    """
    done: set[str] = set()
    for row in known.pairs:
        if row["query_id"] in done or not row["answers"]:
            continue
        done.add(row["query_id"])
        for docid in _choice(known, row, "rrf", replace(rules, n=0, max_score_ratio=None), str(seed)).mined_positives:
            yield row | {
                "pair_id": stable_id(known.source, row["anchor"], docid),
                "positive": docid,
                "given_negatives": [],
                "origin": "mined",
            }


def make_examples(known: SourcePairs, recipe: StageRecipe, seed: int, before: int = 0) -> Iterator[dict]:
    """Rows of the examples table of one source and stage: an example per pair, or per negative of it, and its shuffled
    copy if wanted.

    before: pairs of training that have given an example in earlier shards, which count for `max_rows`.
    """
    for row in known.pairs:
        if not row["positive"] or unit_interval(recipe.stage, row["pair_id"]) >= recipe.share:
            continue
        if row["origin"] == "mined" and not recipe.mined:
            continue
        if row["split"] == TRAIN:
            if recipe.max_rows is not None and before >= recipe.max_rows:
                continue
            before += 1
        example = {
            "pair_id": row["pair_id"],
            "query_id": row["query_id"],
            "source": known.source,
            "split": row["split"],
            "objective": recipe.objective,
            "anchor": row["anchor"],
            "positive": row["positive"],
            "negatives": _negatives(known, row, recipe, seed),
            "label": row.get("label"),
        }
        copies = (False, True) if recipe.shuffled_copy and row["split"] == TRAIN else (False,)
        for shuffled in copies:
            made = (recipe.stage, recipe.objective, row["pair_id"], str(shuffled))
            if not (recipe.triplets and row["split"] == TRAIN):
                yield example | {"example_id": stable_id(*made), "shuffled": shuffled}
                continue
            for docid in example["negatives"]:
                yield example | {"example_id": stable_id(*made, docid), "shuffled": shuffled, "negatives": [docid]}


def _negatives(known: SourcePairs, row: dict, recipe: StageRecipe, seed: int) -> list[str]:
    if recipe.strategy == "given":
        positives = [*known.positives[row["query_id"]], row["anchor"]]
        return given_negatives(row["given_negatives"], known.keys_for(row["split"]), positives, recipe.rules.n)
    draw = f"{seed} {recipe.stage} {row['pair_id']}"
    if recipe.strategy == "random":
        exclude = {row["anchor"], *known.positives[row["query_id"]]}
        return random_negatives(known.pool, exclude, recipe.rules.n, draw)
    return _choice(known, row, recipe.strategy, recipe.rules, draw).negatives


def _choice(known: SourcePairs, row: dict, strategy: str, rules: ChoiceRules, draw: str) -> Choice:
    positives = [*known.positives[row["query_id"]], row["anchor"]]
    candidates = known.candidates.get(row["query_id"])
    barred = set()
    if candidates and candidates.dense_scores.size and rules.max_score_ratio is not None:
        barred = candidates.scored_from(rules.max_score_ratio * candidates.score(row["positive"]))
    return choose_negatives(
        candidates.ranked(strategy) if candidates else (),
        known.keys_for(row["split"]),
        positives=positives,
        answers=row["answers"],
        rules=rules,
        seed=draw,
        barred=barred,
    )
