"""A type of task and a model that the package does not have, as somebody would add them: a file, and a class."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ruri_kedro.benchmark.tasks.columns import columns_of, columns_table
from ruri_kedro.benchmark.tasks.rows import Place
from ruri_kedro.benchmark.tasks.specs import clean, distinct_texts, raw_rows
from ruri_kedro.benchmark.tasks.types import TaskType
from ruri_kedro.recipe.parse import parameters


@parameters
class OddOneOut(Place):
    """Rows with three or more `texts`, and the place of the one that does not belong."""

    type: Literal["odd_one_out"]
    first: int = 0  # what the first place is called


@dataclass(frozen=True)
class OddOneOutTask:
    """Find the text of each group that is the least like the others."""

    name: str
    groups: tuple[tuple[str, ...], ...]
    places: tuple[int, ...]


def read(name, spec, root):
    groups, places = [], []
    for where, row in raw_rows(root, spec["path"], {"texts": list, "odd": int}):
        groups.append(tuple(clean(where, "texts", text) for text in row["texts"]))
        places.append(row["odd"] - spec.get("first", 0))
    return OddOneOutTask(name, tuple(groups), tuple(places))


def tables(task):
    return {"groups": columns_table(task, "groups", "places")}


def restore(name, stored):
    return OddOneOutTask(name, **columns_of(stored))


def texts(task):
    return distinct_texts(text for group in task.groups for text in group)


def score(task, vectors, fitting):
    for number, (group, place) in enumerate(zip(task.groups, task.places, strict=True)):
        found = vectors(group, "odd")
        yield "odd_found", str(number), float((found @ found.T).sum(axis=1).argmin() == place)


TYPE = TaskType(
    name="odd_one_out",
    rows=OddOneOut,
    task=OddOneOutTask,
    read=read,
    tables=tables,
    restore=restore,
    texts=texts,
    score=score,
    role="odd",
    main_metric="odd_found",
    hub_task="other",
)


@dataclass(frozen=True)
class SharedCharacters:
    """A retriever without vectors: it counts the characters that a query and a document share."""

    name: str = "characters"
    largest: int = 100  # documents of a collection that it searches
    encode: None = None

    def searches(self, task):
        return len(task.corpus) <= self.largest

    def search(self, task, depth, candidates):
        found = self.order(task, {qid: dict.fromkeys(task.corpus, 0.0) for qid in task.queries})
        best = {qid: dict(Counter(scores).most_common(depth)) for qid, scores in found.items()}
        return best, self.order(task, candidates)

    def order(self, task, candidates):
        return {qid: {docid: shared(task.queries[qid], task.corpus[docid]) for docid in docids}
                for qid, docids in candidates.items()}  # fmt: skip


def shared(query, document):
    return float(np.sum(list((Counter(query) & Counter(document)).values())))
