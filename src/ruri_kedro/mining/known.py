"""What is known of a source's pairs when negatives are chosen, a shard of them in memory at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice

from ruri_kedro.corpora.source import Source
from ruri_kedro.mining.candidates import COLUMNS, Candidates, candidates_of
from ruri_kedro.mining.examples import TRAIN, HeldOut, SourcePairs, StageRecipe, positives_by_query
from ruri_kedro.tables import Table
from ruri_kedro.tables.ids import IdList, Ids, among, distinct_ids
from ruri_kedro.tables.lookup import iter_texts, passage_texts
from ruri_kedro.tables.seen import Seen
from ruri_kedro.tables.store import blocks
from ruri_kedro.text.hashing import stable_id
from ruri_kedro.text.normalize import match_key

_PASSAGES_AT_ONCE = 65_536


@dataclass(frozen=True)
class KnownPairs:
    """The pairs of a source, mined ones last, without those that a test knows, and what was found for their queries.

    rows: pairs in memory at a time; depth: ranks of a ranking that are read; avoided: candidates that are not, such as
    texts of a test. Of all pairs there are 100 bytes per held-out positive, and 24 per positive of training if random
    negatives are drawn.
    """

    source: Source
    passages: Table
    pair_tables: tuple[Table, ...]  # pairs, and mined pairs if there are
    leaked: frozenset[str]  # pair_ids
    inconsistent: Ids  # pair_ids that give no example
    candidates: Table | None  # None: the source is not searched
    avoided: frozenset[str]
    depth: int
    rows: int
    drawn: bool = False  # whether random negatives are, from all positives of training
    given: bool = False  # whether the pairs' own negatives are asked for

    def shards(self, skip: int = 0) -> Iterator[SourcePairs]:
        """The pairs in their order, with all that choosing their negatives takes, without the first `skip` shards."""
        return (self._known(rows) for rows in islice(blocks(self._pairs(), self.rows), skip, None))

    def shards_by(self, recipes: Sequence[StageRecipe], skip: int) -> Iterator[tuple[StageRecipe, SourcePairs]]:
        """The shards for each recipe in turn, without the first `skip` of them all."""
        for recipe in recipes:
            count = self.count
            if skip < count:
                yield from ((recipe, some) for some in self.shards(skip))
            skip = max(0, skip - count)

    def unanswered(self, skip: int = 0) -> Iterator[SourcePairs]:
        """As `shards`, of each query only the first pair that has answers: those that positives are mined for."""
        seen = Seen()
        for number, rows in enumerate(blocks(self._pairs(), self.rows)):
            answered = [row for row in rows if row["answers"]]
            is_new = seen.add([stable_id(row["query_id"]) for row in answered])
            if number >= skip:
                yield self._known([row for row, new in zip(answered, is_new, strict=True) if new])

    def lost(self, share: float) -> Counter[str]:
        """How many pairs each rule keeps from giving an example of training, where all are kept from it."""
        counts: Counter[str] = Counter()
        columns = ["pair_id", "split", "positive"]
        for row in chain.from_iterable(table.iter_rows([self.source.name], columns) for table in self._with_source):
            if row["split"] != TRAIN:
                counts["held out for validation"] += 1
            elif row["pair_id"] in self.leaked:
                counts["known to a test (leaks.md)"] += 1
            elif not row["positive"]:
                counts["without a positive: no passage with an answer was found"] += 1
            elif among([row["pair_id"]], self.inconsistent).any():
                counts["not consistent (consistency)"] += 1
            else:
                counts[f"not among the share of {share}"] += 1
        return counts

    def _known(self, rows: list[dict]) -> SourcePairs:
        is_dropped = among([row["pair_id"] for row in rows], self.inconsistent)
        rows = [row for row, dropped in zip(rows, is_dropped, strict=True) if not dropped]
        queries = {row["query_id"] for row in rows}
        positives = positives_by_query(self._pairs_of(queries))
        candidates = found_candidates(self.candidates, self.source.name, queries, self.depth, self.avoided)
        docids = {row["anchor"] for row in rows} | set(chain.from_iterable(positives.values()))
        docids.update(chain.from_iterable(found.docids for found in candidates.values()))
        if self.given:
            docids.update(chain.from_iterable(row["given_negatives"] for row in rows))
        texts = passage_texts(self.passages, docids, self._parts)
        pool = self._pool if self.drawn else ()
        return SourcePairs(self.source.name, rows, positives, texts, candidates, self._held_out, pool)

    def _pairs(self, columns: list[str] | None = None) -> Iterator[dict]:
        return self._kept(table.iter_rows([self.source.name], columns) for table in self._with_source)

    def _pairs_of(self, queries: set[str]) -> Iterator[dict]:
        columns = ["pair_id", "query_id", "positive"]
        found = (table.select(self.source.name, "query_id", queries, columns) for table in self._with_source)
        return self._kept(chain.from_iterable(batch.to_pylist() for batch in batches) for batches in found)

    def _kept(self, tables: Iterable[Iterable[dict]]) -> Iterator[dict]:
        return (row for row in chain.from_iterable(tables) if row["pair_id"] not in self.leaked)

    @cached_property
    def count(self) -> int:
        """How many shards there are."""
        return -(-sum(1 for _ in self._pairs(["pair_id"])) // self.rows)

    @property
    def _with_source(self) -> list[Table]:
        return [table for table in self.pair_tables if self.source.name in table.parts()]

    @property
    def _parts(self) -> list[str]:
        """Of passages: the source's own and, where it is searched, its collection's."""
        return sorted({self.source.name, self.source.candidates} if self.candidates else {self.source.name})

    @cached_property
    def _held_out(self) -> HeldOut:
        sides = self._pairs(["pair_id", "split", "positive"])
        held_out = {row["positive"] for row in sides if row["split"] != TRAIN and row["positive"]}
        return HeldOut(map(match_key, passage_texts(self.passages, held_out, self._parts).values()))

    @cached_property
    def _pool(self) -> IdList:
        sides = self._pairs(["pair_id", "split", "positive"])
        train = distinct_ids(
            [row["positive"] for row in rows if row["split"] == TRAIN] for rows in blocks(sides, _PASSAGES_AT_ONCE)
        )
        if not self._held_out:
            return IdList(train)
        texts = blocks(iter_texts(self.passages, self._parts), _PASSAGES_AT_ONCE)
        return IdList(distinct_ids(self._not_held_out(rows, train) for rows in texts))

    def _not_held_out(self, rows: list[tuple[str, str]], train: Ids) -> list[str]:
        is_train = among([docid for docid, _ in rows], train)
        return [
            docid
            for (docid, text), wanted in zip(rows, is_train, strict=True)
            if wanted and match_key(text) not in self._held_out
        ]


def found_candidates(
    candidates: Table | None, source: str, queries: set[str], depth: int, avoided: frozenset[str]
) -> dict[str, Candidates]:
    """Candidates by query_id of some queries of a source; none without a table, which is a source not searched."""
    batches = candidates.select(source, "query_id", queries, COLUMNS) if candidates else ()
    return dict(chain.from_iterable(candidates_of(batch, depth, avoided) for batch in batches))
