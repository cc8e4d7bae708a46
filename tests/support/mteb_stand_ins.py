"""Tiny data for mteb's tasks, in the form that each task holds after load_data, and an encoder that records.

A text starts with `<task>|<side>|`, its side being query, document or text, so that its prompt can be checked.
"""

import itertools
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

from ruri_kedro.benchmark.mteb.tasks import benchmark_tasks

WORDS = ("図書館", "美術館", "новости", "наука", "映画", "спорт")
WITH_TITLE = ("MIRACLRetrieval", "MrTidyRetrieval", "RiaNewsRetrieval")


class Recorder:
    """An encoder of no model: counts of characters and pairs, and noise by the text; it keeps what it is asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, texts, prompt, max_length, chunk_tokens):
        self.calls.append((list(texts), prompt, max_length, chunk_tokens))
        counts = np.zeros((len(texts), 48), dtype=np.float32)
        for row, text in zip(counts, texts, strict=True):
            row += np.random.default_rng(zlib.crc32(text.encode())).random(48)  # no two documents tie
            for gram in [*text, *map("".join, itertools.pairwise(text))]:
                row[zlib.crc32(gram.encode()) % 48] += 1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    @property
    def texts(self):
        """(prompt, text) of everything encoded, in order."""
        return [(prompt, text) for texts, prompt, _, _ in self.calls for text in texts]


@contextmanager
def stand_in_data(benchmarks):
    """In this context every task of the benchmarks has its stand-in data."""
    with pytest.MonkeyPatch.context() as patch:
        for benchmark in benchmarks:
            for task in benchmark_tasks(benchmark):
                patch.setattr(type(task), "load_data", load_stand_in)
        yield


def load_stand_in(task, num_proc=None, **kwargs):
    """In place of a task's `load_data`."""
    if task.data_loaded:
        return
    if task.metadata.name == "MrTidyRetrieval":
        _fill_old_form(task)
    else:
        make = _MAKERS[task.metadata.type]
        form = dict if task.metadata.type in ("Retrieval", "Reranking") else DatasetDict
        # Tasks that sample their training rows from a split of their own have it beside the evaluated ones.
        splits = dict.fromkeys([*([task.train_split] if hasattr(task, "train_split") else []), *task.eval_splits])
        dataset = {subset: form({split: make(task, split) for split in splits}) for subset in task.hf_subsets}
        flat = not task.metadata.is_multilingual and form is DatasetDict
        task.dataset = dataset["default"] if flat else dataset
    task.data_loaded = True


def text_of(task, side, *parts):
    return f"{task.metadata.name}|{side}| " + " ".join(map(str, parts))


def _rows(task, split, count=12):
    """(number, label, text) with labels that the words give away, mostly."""
    for i in range(count):
        label = i % 3
        word = WORDS[label if i % 5 else (label + 1) % 3]
        yield i, label, text_of(task, "text", word, split, i)


def _classification(task, split):
    return Dataset.from_list(
        [{"text": text, "label": label, "label_text": WORDS[label]} for _, label, text in _rows(task, split)]
    )


def _multilabel(task, split):
    rows = list(_rows(task, split, 24))
    return Dataset.from_list([{"text": text, "label": [label] if i % 4 else [label, 3]} for i, label, text in rows])


def _clustering(task, split):
    return Dataset.from_list([{"sentences": text, "labels": label} for _, label, text in _rows(task, split)])


def _sts(task, split):
    rows = [
        (text_of(task, "text", word, split, i), text_of(task, "text", other, split, i + i % 3), float((i * 7) % 5))
        for i, (word, other) in enumerate(itertools.product(WORDS, WORDS[:2]))
    ]
    return Dataset.from_list([dict(zip(("sentence1", "sentence2", "score"), row, strict=True)) for row in rows])


def _pairs(task, split):
    rows = _sts(task, split)
    return Dataset.from_dict(
        {
            "sentence1": rows["sentence1"],
            "sentence2": rows["sentence2"],
            "labels": [int(score > 2) for score in rows["score"]],
        }
    )


def _search(task, split):
    queries, corpus, qrels = search_rows(task, split)
    reranking = task.metadata.type == "Reranking"
    return RetrievalSplitData(
        corpus=Dataset.from_list(corpus),
        queries=Dataset.from_list(queries),
        relevant_docs=qrels,
        top_ranked={row["id"]: [doc["id"] for doc in corpus] for row in queries} if reranking else None,
    )


def search_rows(task, split):
    """Queries, corpus and judgments; relevant are documents of the query's word, and one that is not."""
    titled = task.metadata.name in WITH_TITLE
    corpus = []
    for i, word in enumerate([*WORDS, *WORDS]):
        marker = text_of(task, "document")
        parts = {"title": f"{marker}題{i}", "text": f"{word} {split}"} if titled else {"text": f"{marker}{word} {i}"}
        corpus.append({"id": f"d{i}", **parts})
    queries = [{"id": f"q{i}", "text": text_of(task, "query", word, split, i)} for i, word in enumerate(WORDS)]
    qrels = {f"q{i}": {f"d{i}": 1, f"d{(i + 3) % 12}": 1} for i in range(len(WORDS))}
    return queries, corpus, qrels


def _fill_old_form(task):
    """Mr. TyDi's loader leaves dicts that mteb converts when it evaluates."""
    subset, split = task.hf_subsets[0], task.eval_splits[0]
    queries, corpus, qrels = search_rows(task, split)
    task.queries = {subset: {split: {row["id"]: row["text"] for row in queries}}}
    task.corpus = {subset: {split: {row["id"]: {"title": row["title"], "text": row["text"]} for row in corpus}}}
    task.relevant_docs = {subset: {split: qrels}}


_MAKERS = {
    "Classification": _classification,
    "MultilabelClassification": _multilabel,
    "Clustering": _clustering,
    "STS": _sts,
    "PairClassification": _pairs,
    "Retrieval": _search,
    "Reranking": _search,
}
