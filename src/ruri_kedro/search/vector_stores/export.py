"""Export, load, check: vectors in the form of an engine, sent there, and searched there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.search.vector_stores import answers
from ruri_kedro.search.vector_stores.documents import Analyser, Batch, Layout, split
from ruri_kedro.search.vector_stores.manifest import FORMAT, MANIFEST, read_export
from ruri_kedro.search.vector_stores.sources import Source
from ruri_kedro.search.vector_stores.stores import BATCH, BATCH_OF_TOKENS, STORES, VectorStore, store_for
from ruri_kedro.tables.files import new_folder, replace_dir, write_json

LEAST_EXACT, LEAST = 0.99, 0.95  # recall@10 of an engine that does what is expected of it


@dataclass(frozen=True)
class Recall:
    """Recall@10 of an engine against our own exact search, without and with its index."""

    queries: int
    exact: float
    index: float

    @property
    def is_enough(self) -> bool:
        """Whether both are what is expected of an engine."""
        return self.exact >= LEAST_EXACT and self.index >= LEAST

    def __str__(self) -> str:
        told = f"recall@10 of {self.queries} queries against exact search here: {self.exact:.3f} by the engine's exact "
        return f"{told}search, {self.index:.3f} by its index"


def export(source: Source, to: str, out: Path, name: str, analyser: Analyser) -> int:
    """Write a source's documents for the engine `to`, a name of `STORES`, into a new folder; their number.

    Raises RecipeError for a name or a kind of vectors that the engine does not take, DataError for a folder that holds
    something and for a docid that recurs.
    """
    layout = Layout(name, source.dimension, source.multi_vectors, source.texts, analyser)
    store, docids = store_for(to, layout), set()
    size = BATCH_OF_TOKENS if layout.multi_vectors else BATCH
    with replace_dir(new_folder(Path(out))) as aside:
        store.write(aside, _once(split(source.batches, size), docids), layout)
        found = source.answers()
        if found is not None:
            pq.write_table(found, aside / answers.FILE)
        facts = {"format": FORMAT, "to": to, "documents": len(docids), "layout": layout.to_json(), **source.facts}
        write_json(aside / MANIFEST, facts)
    return len(docids)


def _once(batches: Iterator[Batch], docids: set[str]) -> Iterator[Batch]:
    """The batches, whose docids are noted; DataError for one that recurs."""
    for batch in batches:
        for docid in batch.docids:
            if docid in docids:
                raise DataError(f"docid {docid!r} stands twice in the collection. Give each document its own.")
            docids.add(docid)
        yield batch


def load(folder: Path, address: str) -> None:
    """Send an export to the engine that runs at the address; can be repeated."""
    _connected(folder, address).load()


def check(folder: Path, address: str | None) -> Recall:
    """Search in the engine as exact search did when the folder was written; DataError where nothing was asked then."""
    _, layout, _ = read_export(folder)
    path = Path(folder) / answers.FILE
    if not path.exists():
        raise DataError(f"{folder}: no queries to check with. Those come with --model and --collection.")
    store, known = _connected(folder, address), answers.read_answers(path, layout.multi_vectors)
    found = [known.recall(store.search(known.vectors, answers.K, exact)) for exact in (True, False)]
    return Recall(len(known.vectors), *found)


def _connected(folder: Path, address: str | None) -> VectorStore:
    to, layout, _ = read_export(folder)
    if address is None and STORES[to].address is not None:
        raise RecipeError(f"--into is missing: for {to} {STORES[to].address}.")
    try:
        return STORES[to](address or "", layout, Path(folder))
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"{to}: the package '{error.name}' is missing. Run: pip install 'ruri-kedro[engines]'"
        ) from error
