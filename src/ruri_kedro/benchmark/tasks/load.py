"""The tasks of the benchmark, read from a row of parameters, and the texts that training must not have seen."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.runs import Qrels
from ruri_kedro.benchmark.tasks.candidates import read_candidates
from ruri_kedro.benchmark.tasks.collection import read_collection
from ruri_kedro.benchmark.tasks.rows import parse_task
from ruri_kedro.benchmark.tasks.specs import clean, raw_rows, with_fields
from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.tables.raw import label_text
from ruri_kedro.text.names import check_name

_LABEL = (str, int, bool)


@dataclass(frozen=True)
class RetrievalTask:
    """Find each query's positives in the corpus."""

    name: str
    queries: dict[str, str]  # qid -> text
    corpus: dict[str, str]  # docid -> text
    qrels: Qrels  # qid -> docid -> relevance


@dataclass(frozen=True)
class RerankingTask(RetrievalTask):
    """Order the candidates of each query; every text of the corpus is a candidate of some query."""

    candidates: dict[str, tuple[str, ...]]  # qid -> docids


@dataclass(frozen=True)
class StsTask:
    """Order pairs of texts by similarity; item i is texts1[i], texts2[i], scores[i]."""

    name: str
    texts1: tuple[str, ...]
    texts2: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class ClassificationTask:
    """Predict the label of a text from its vector, with a classifier fitted on the train part."""

    name: str
    train_texts: tuple[str, ...]
    train_labels: tuple[str, ...]
    test_texts: tuple[str, ...]
    test_labels: tuple[str, ...]


@dataclass(frozen=True)
class ClusteringTask:
    """Group texts by their vectors; the groups are compared with the labels."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class PairTask:
    """Tell pairs of texts that belong together (label 1) from those that do not (0)."""

    name: str
    texts1: tuple[str, ...]
    texts2: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class MultilabelTask:
    """Predict the labels of a text, of which it may have none, with a classifier fitted on the train part."""

    name: str
    train_texts: tuple[str, ...]
    train_labels: tuple[tuple[str, ...], ...]
    test_texts: tuple[str, ...]
    test_labels: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BitextTask:
    """Find the translation of each text of texts1 in texts2; that of texts1[i] is texts2[i]."""

    name: str
    texts1: tuple[str, ...]
    texts2: tuple[str, ...]


Task = (
    RetrievalTask
    | RerankingTask
    | StsTask
    | ClassificationTask
    | ClusteringTask
    | PairTask
    | MultilabelTask
    | BitextTask
)


def load_task(name: str, spec: Mapping[str, Any], raw_root: Path) -> Task:
    """The task that a parameter row describes; all paths are below `raw_root`, all texts are normalised.

    Keys by type (optional ones in brackets):
      retrieval       shape (qa; queries, passages or topics), path, [corpus: {shape: qa, corpus or articles, path,
                      [sampled: {random, seed} or {negatives: {path, count}}]}]
      reranking       shape (pairs, lists, grades or mined), path, [fields]; but for pairs corpus: {path,
                      [fields: {docid, title, text}]}; mined: queries (a shape), negatives: {path, count}
      sts             path, [fields: {text1, text2, score}]
      classification  train, path, [fields: {text, label}]
      clustering      path, [fields: {text, label}], [sample], [seed]
      pair            path, positive (the labels of pairs that belong together), [fields: {text1, text2, label}]
      multilabel      train, path, [fields: {text, labels}]
      bitext          path, [fields: {text1, text2}]
    `fields` gives the names the file has for them; a `text` may be a list of fields, which are joined by a space.
    Labels become strings. Raises RecipeError for a type, shape or key that is not known, DataError for rows that do
    not fit.
    """
    check_name("tasks", name)
    parse_task(name, spec)
    return _LOADERS[spec["type"]](name, spec, Path(raw_root))


def test_texts(task: Task) -> Iterator[dict]:
    """Rows of TEST_TEXTS: what a leak is looked for in.

    Retrieval: role 'query' and, right behind it, 'positive' for each of its positives (both with item_id = qid),
    then 'passage' for the whole corpus (item_id = docid). Other types: role 'text' for each distinct text of the
    test part (item_id = its number).
    """
    if not isinstance(task, RetrievalTask):
        for number, text in enumerate(dict.fromkeys(_test_part(task))):
            yield _row(task, "text", str(number), text)
        return
    for qid, query in task.queries.items():
        yield _row(task, "query", qid, query)
        for docid in (docid for docid, grade in task.qrels.get(qid, {}).items() if grade > 0):
            yield _row(task, "positive", qid, task.corpus[docid])
    for docid, text in task.corpus.items():
        yield _row(task, "passage", docid, text)


def _test_part(task: Task) -> tuple[str, ...]:
    if isinstance(task, StsTask | PairTask | BitextTask):
        return task.texts1 + task.texts2
    return task.texts if isinstance(task, ClusteringTask) else task.test_texts


def _row(task: Task, role: str, item_id: str, text: str) -> dict:
    return {"test": task.name, "role": role, "item_id": item_id, "text": text}


def _load_retrieval(name: str, spec: Mapping[str, Any], root: Path) -> RetrievalTask:
    return RetrievalTask(name, *read_collection(name, spec, root))


def _load_reranking(name: str, spec: Mapping[str, Any], root: Path) -> RerankingTask:
    return RerankingTask(name, *read_candidates(name, spec, root))


def _load_sts(name: str, spec: Mapping[str, Any], root: Path) -> StsTask:
    items = []
    for _, row in _text_pairs(name, spec, root, {"score": (int, float)}):
        items.append((row["text1"], row["text2"], float(row["score"])))
    texts1, texts2, scores = zip(*items, strict=True)
    if len(set(scores)) < 2:
        raise DataError(
            f"task '{name}': all scores of {spec['path']} are {scores[0]}; there is no order to compare with."
        )
    return StsTask(name, texts1, texts2, scores)


def _load_pair(name: str, spec: Mapping[str, Any], root: Path) -> PairTask:
    rows = [row for _, row in _text_pairs(name, spec, root, {"label": _LABEL})]
    labels = [label_text(row["label"]) for row in rows]
    positive, found = set(map(label_text, spec["positive"])), set(labels)
    if not positive or positive - found or positive == found:
        raise RecipeError(
            f"task '{name}', key 'positive': {spec['positive']}; name some, not all, of the labels in {spec['path']}: "
            f"{', '.join(sorted(found))}."
        )
    return PairTask(name, *_texts_of(rows), tuple(int(label in positive) for label in labels))


def _load_bitext(name: str, spec: Mapping[str, Any], root: Path) -> BitextTask:
    return BitextTask(name, *_texts_of([row for _, row in _text_pairs(name, spec, root, {})]))


def _texts_of(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(row["text1"] for row in rows), tuple(row["text2"] for row in rows)


def _text_pairs(
    name: str, spec: Mapping[str, Any], root: Path, values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and row, {text1, text2, the `values`}) of a file of pairs; `values` are other fields with their types."""
    names = with_fields(spec, ("text1", "text2", *values))
    types = {"text1": str, "text2": str, **values}
    for where, row in raw_rows(root, spec["path"], {names[key]: kind for key, kind in types.items()}):
        texts = {key: clean(where, names[key], row[names[key]]) for key in ("text1", "text2")}
        yield where, texts | {key: row[names[key]] for key in values}


def _load_multilabel(name: str, spec: Mapping[str, Any], root: Path) -> MultilabelTask:
    names = with_fields(spec, ("text", "labels"))

    def part(path: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        texts, labels = [], []
        for where, row in raw_rows(root, path, {names["text"]: str, names["labels"]: list}):
            texts.append(clean(where, names["text"], row[names["text"]]))
            labels.append(_labels(f"{where}, field '{names['labels']}'", row[names["labels"]]))
        return tuple(texts), tuple(labels)

    train, test = part(spec["train"]), part(spec["path"])
    for path, (_, labels) in ((spec["train"], train), (spec["path"], test)):
        if not any(labels):
            raise DataError(f"task '{name}': no text of {path} has a label.")
    return MultilabelTask(name, *train, *test)


def _labels(where: str, values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, _LABEL) for value in values):
        raise DataError(f"{where}: each label is a text, a whole number or a truth value. Correct the row.")
    return tuple(sorted(set(map(label_text, values))))


def _load_classification(name: str, spec: Mapping[str, Any], root: Path) -> ClassificationTask:
    train = _labelled(name, spec, root, "train")
    if len(set(train[1])) < 2:
        raise DataError(f"task '{name}': all labels of {spec['train']} are '{train[1][0]}'; two are needed.")
    return ClassificationTask(name, *train, *_labelled(name, spec, root, "path"))


def _load_clustering(name: str, spec: Mapping[str, Any], root: Path) -> ClusteringTask:
    texts, labels = _labelled(name, spec, root, "path")
    if "sample" in spec:
        count = min(spec["sample"], len(texts))
        chosen = sorted(random.Random(spec["seed"]).sample(range(len(texts)), count))
        texts, labels = tuple(texts[i] for i in chosen), tuple(labels[i] for i in chosen)
    return ClusteringTask(name, texts, labels)


def _labelled(name: str, spec: Mapping[str, Any], root: Path, part: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(texts, labels) of the file or folder that key `part` names."""
    names = with_fields(spec, ("text", "label"))
    columns = [names["text"]] if isinstance(names["text"], str) else names["text"]
    texts, labels = [], []
    for where, row in raw_rows(root, spec[part], dict.fromkeys(columns, str) | {names["label"]: _LABEL}):
        texts.append(clean(where, " + ".join(columns), " ".join(row[column] for column in columns)))
        labels.append(label_text(row[names["label"]]))
    return tuple(texts), tuple(labels)


_LOADERS: dict[str, Callable[[str, Mapping[str, Any], Path], Task]] = {
    "retrieval": _load_retrieval,
    "reranking": _load_reranking,
    "sts": _load_sts,
    "classification": _load_classification,
    "clustering": _load_clustering,
    "pair": _load_pair,
    "multilabel": _load_multilabel,
    "bitext": _load_bitext,
}
