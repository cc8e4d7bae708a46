"""The optional filter by consistency: pairs whose positive an encoder does not find among a sample of positives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import RecipeError
from ruri_kedro.mining.encoder import encoding_of
from ruri_kedro.mining.settings import ConsistencyRules
from ruri_kedro.models.reference import EncoderReference
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, ShardedPart, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.ids import IdList, distinct_ids
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import blocks, key_of, to_table
from ruri_kedro.text.names import listed_names

if TYPE_CHECKING:
    import numpy as np


def parse_rules(settings: Params, known: Sequence[str]) -> ConsistencyRules:
    """A recipe's block `consistency`; `known` sources have pairs. Raises RecipeError that names the key."""
    rules = parse(ConsistencyRules, settings, "consistency")
    unknown = set(listed_names("consistency.sources", rules.sources)) - set(known)
    if unknown:
        raise RecipeError(
            f"consistency.sources: '{min(unknown)}' has no pairs without labels. Allowed: {', '.join(known)}."
        )
    return rules


def filtered(rules: ConsistencyRules, known: Sequence[str]) -> list[str]:
    """The sources whose pairs are looked at, of those that are `known`; without an encoder none."""
    chosen = listed_names("consistency.sources", rules.sources) or known
    return [source for source in known if source in chosen] if rules.encoder.name is not None else []


@dataclass(frozen=True)
class ConsistencyCheck:
    """The pairs of one source that are not consistent."""

    source: str
    passages: Table
    pairs: Table
    rules: ConsistencyRules
    encoder: EncoderReference
    prompts: Params
    encoding: Params

    def part(self) -> ShardedPart:
        """Rows of the table `inconsistent`, shard by shard of the pairs."""
        key = key_of(
            tables=[table.digest([self.source]) for table in (self.passages, self.pairs)],
            encoder=self.encoder.digest(),
            settings=[self.rules.rank, self.rules.sample, self.rules.shard_rows],
            encoding=[self.prompts, self.encoding["max_length"], self.encoding["precision"]],
            code=behaviour_digest(ConsistencyCheck),
        )
        return ShardedPart(key, self._shards, lambda: -(-sum(1 for _ in self._pairs()) // self.rules.shard_rows))

    def _shards(self, done: Sequence[Path]) -> Iterator[pa.Table]:
        for number, rows in enumerate(blocks(self._pairs(), self.rules.shard_rows)):
            if number >= len(done):
                yield to_table(self._dropped(rows), SCHEMAS["inconsistent"])

    def _dropped(self, rows: list[dict]) -> Iterator[dict]:
        import numpy as np

        from ruri_kedro.mining.ranks import ranks_among

        docids = {row[side] for row in rows for side in ("anchor", "positive")}
        texts = passage_texts(self.passages, docids, [self.source])
        places = {docid: place for place, docid in enumerate(self._sample)}
        own = np.array([places.get(row["positive"], -1) for row in rows])
        queries = self._encode("query")([texts[row["anchor"]] for row in rows])
        positives = self._encode("document")([texts[row["positive"]] for row in rows])
        for row, rank in zip(rows, ranks_among(queries, positives, self._vectors, own).tolist(), strict=True):
            if rank > self.rules.rank:
                yield {"pair_id": row["pair_id"], "rank": rank}

    def _pairs(self) -> Iterator[dict]:
        rows = self.pairs.iter_rows([self.source], ["pair_id", "split", "anchor", "positive"])
        return (row for row in rows if row["split"] == "train" and row["positive"])

    @cached_property
    def _sample(self) -> list[str]:
        from ruri_kedro.mining.ranks import drawn

        positives = distinct_ids([row["positive"] for row in rows] for rows in blocks(self._pairs()))
        return drawn(IdList(positives), self.rules.sample)

    @cached_property
    def _vectors(self) -> "np.ndarray":
        texts = passage_texts(self.passages, set(self._sample), [self.source])
        return self._encode("document")([texts[docid] for docid in self._sample])

    def _encode(self, role: str) -> Callable[[list[str]], "np.ndarray"]:
        return self.encoder.encode_with(self.prompts[role], self.encoding, f"consistency of {self.source}")


def check_consistency(
    passages: Table, pairs: Table, consistency: Params, prompts: Params, encoding: Params, sources: Params
) -> dict[str, ShardedPart]:
    """The pairs that are not consistent, a part per source that is filtered: none, unless there is an encoder.

    Texts are read with the encoder's own prompts, else with those of their source, else with the recipe's.
    """
    known = parse_sources(sources)
    # Two texts with a low label are not to find each other.
    looked_at = [name for name in pairs.parts() if not known[name].is_labelled]
    rules = parse_rules(consistency, looked_at)
    wanted = filtered(rules, looked_at)
    encoder = EncoderReference.of(vars(rules.encoder), Path(), encoding["device"]) if wanted else None
    read = encoding_of(consistency["encoder"], encoding)

    def part(name: str) -> ShardedPart:
        own = vars(rules.encoder.prompts) if rules.encoder.prompts else known[name].prompts_or(prompts)
        return ConsistencyCheck(name, passages, pairs, rules, encoder, own, read).part()

    return {name: part(name) for name in wanted}
