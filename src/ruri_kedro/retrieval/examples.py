"""From pairs and candidates to the examples a stage trains on, and the pairs that were mined on the way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ruri_kedro.errors import RecipeError
from ruri_kedro.retrieval.negatives import Choice, ChoiceRules, choose_negatives, random_negatives
from ruri_kedro.text.hashing import stable_id, unit_interval
from ruri_kedro.text.normalize import match_key

STRATEGIES = ("given", "random", "bm25", "fused")
SEARCHED = ("bm25", "fused")
TRAIN = "train"


@dataclass(frozen=True)
class StageRecipe:
    """How one source takes part in one stage."""

    stage: str
    objective: str
    strategy: str  # one of STRATEGIES
    negatives: int  # at most, per example
    shuffled_copy: bool  # each example once more, its positive's sentences in another order
    share: float  # of the source's pairs that take part

    @staticmethod
    def of(stage: str, row: Mapping, objective: str, negatives: int) -> "StageRecipe":
        """From a row of a source's parameters for the stage and the stage's own defaults."""
        unknown = set(row) - {"negatives", "objective", "shuffled_copy", "share"}
        if unknown or row.get("negatives") not in STRATEGIES:
            raise RecipeError(
                f"sources.*.stages.{stage}: {dict(row)}. Allowed: negatives ({', '.join(STRATEGIES)}), objective, "
                "shuffled_copy, share."
            )
        return StageRecipe(
            stage,
            row.get("objective", objective),
            row["negatives"],
            negatives,
            row.get("shuffled_copy", False),
            row.get("share", 1.0),
        )


class MatchKeys(dict[str, str]):
    """Match key by docid, computed when it is first asked for."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def __missing__(self, docid: str) -> str:
        key = self[docid] = match_key(self._texts[docid])
        return key


@dataclass(frozen=True)
class SourcePairs:
    """All that is known of one source's pairs when negatives are chosen."""

    source: str
    pairs: list[dict]  # rows of the pairs table, without those a test knows; a question may have no positive yet
    texts: Mapping[str, str]  # by docid: the source's own and its collection's
    candidates: Mapping[str, Sequence[str]] = field(default_factory=dict)  # docids by query_id, best first

    @cached_property
    def positives(self) -> dict[str, list[str]]:
        """Every known positive by query_id."""
        known: dict[str, list[str]] = {}
        for row in self.pairs:
            known.setdefault(row["query_id"], []).extend([row["positive"]] if row["positive"] else [])
        return known

    @cached_property
    def held_out(self) -> set[str]:
        """Match keys of the held-out positives.

        Training never sees them, not even as negatives: a model that learns what is never the answer would be
        validated on just those.
        """
        return {self.keys[row["positive"]] for row in self.pairs if row["split"] != TRAIN and row["positive"]}

    @cached_property
    def pool(self) -> list[str]:
        """The distinct positives of training, from which random negatives are drawn."""
        positives = {row["positive"] for row in self.pairs if row["split"] == TRAIN and row["positive"]}
        return sorted(docid for docid in positives if self.keys[docid] not in self.held_out)

    @cached_property
    def keys(self) -> "MatchKeys":
        """Match keys of the texts, each computed once."""
        return MatchKeys(self.texts)


def mine_pairs(known: SourcePairs, rules: ChoiceRules, seed: int) -> Iterator[dict]:
    """New pairs: candidates that contain an answer of their query, `origin` mined (Ruri, Section 3.1)."""
    done: set[str] = set()
    for row in known.pairs:
        if row["query_id"] in done or not row["answers"]:
            continue
        done.add(row["query_id"])
        for docid in _choice(known, row, rules, 0, seed).mined_positives:
            yield row | {
                "pair_id": stable_id(known.source, row["anchor"], docid),
                "positive": docid,
                "given_negatives": [],
                "origin": "mined",
            }


def make_examples(known: SourcePairs, recipe: StageRecipe, rules: ChoiceRules, seed: int) -> Iterator[dict]:
    """Rows of the examples table of one source and stage: an example per pair, and its shuffled copy if wanted."""
    for row in known.pairs:
        if not row["positive"] or unit_interval(recipe.stage, row["pair_id"]) >= recipe.share:
            continue
        example = {
            "pair_id": row["pair_id"],
            "query_id": row["query_id"],
            "source": known.source,
            "split": row["split"],
            "objective": recipe.objective,
            "anchor": row["anchor"],
            "positive": row["positive"],
            "negatives": _negatives(known, row, recipe, rules, seed),
        }
        copies = (False, True) if recipe.shuffled_copy and row["split"] == TRAIN else (False,)
        for shuffled in copies:
            example_id = stable_id(recipe.stage, recipe.objective, row["pair_id"], str(shuffled))
            yield example | {"example_id": example_id, "shuffled": shuffled}


def _negatives(known: SourcePairs, row: dict, recipe: StageRecipe, rules: ChoiceRules, seed: int) -> list[str]:
    if recipe.strategy == "given":
        return row["given_negatives"][: recipe.negatives]
    if recipe.strategy == "random":
        exclude = {row["anchor"], *known.positives[row["query_id"]]}
        draw = f"{seed} {recipe.stage} {row['pair_id']}"
        return random_negatives(known.pool, exclude, recipe.negatives, draw)
    return _choice(known, row, rules, recipe.negatives, seed, recipe.stage).negatives


def _choice(known: SourcePairs, row: dict, rules: ChoiceRules, negatives: int, seed: int, stage: str = "") -> Choice:
    positives = [*known.positives[row["query_id"]], row["anchor"]]
    return choose_negatives(
        known.candidates.get(row["query_id"], ()),
        known.keys,
        positives=positives,
        positive_texts=[known.texts[docid] for docid in positives],
        answers=row["answers"],
        rules=replace(rules, n=negatives),
        seed=f"{seed} {stage} {row['pair_id']}",
        barred=known.held_out if row["split"] == TRAIN else (),
    )
