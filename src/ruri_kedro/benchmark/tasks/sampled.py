"""The sampled collections of JaColBERT's evaluation (arXiv 2312.16144, Section 4.1), by the rules of its code.

A collection has the judged passages of all queries and either the first mined negatives of each (MIRACL: 200) or
passages drawn at random (Mr. TyDi: 100,000 with seed 42). Passages are their text without the title; equal texts are
one passage.
"""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruri_kedro.benchmark.runs import Qrels
from ruri_kedro.benchmark.tasks.judged_queries import hard_negatives
from ruri_kedro.benchmark.tasks.specs import clean, put, raw_rows
from ruri_kedro.errors import DataError, RecipeError


def sampled_corpus(
    task: str, spec: Mapping[str, Any], root: Path, judged: Iterable[str], qrels: Qrels
) -> tuple[dict[str, str], Qrels]:
    """(corpus, qrels) of the collection that `spec`, a row `corpus` with a key `sampled`, describes.

    `judged` are the docids that are in it in any case. Of equal texts the first stands for all, in the judgments too.
    Only the texts that are chosen are held in memory.
    """
    rules = spec["sampled"]
    path, below = spec["path"], "corpus.sampled."
    chosen = set(judged)
    if "random" in rules:
        docids = [row["docid"] for _, row in raw_rows(root, path, {"docid": str})]
        if rules["random"] > len(docids):
            raise RecipeError(f"task '{task}', key '{below}random': {path} has only {len(docids)} passages.")
        chosen |= set(random.Random(rules["seed"]).sample(docids, rules["random"]))
    else:
        chosen |= {docid for docids in hard_negatives(task, rules["negatives"], root).values() for docid in docids}
    corpus: dict[str, str] = {}
    first: dict[str, str] = {}  # text: docid
    stands_for: dict[str, str] = {}
    for where, row in raw_rows(root, path, {"docid": str, "text": str}):
        if row["docid"] in chosen:
            text = clean(where, "text", row["text"])
            put(stands_for, where, "docid", row["docid"], kept := first.setdefault(text, row["docid"]))
            corpus[kept] = text
    if lost := sorted(chosen - stands_for.keys()):
        raise DataError(f"task '{task}': {len(lost)} passages are not in {path}, for example '{lost[0]}'.")
    return corpus, {qid: {stands_for[docid]: grade for docid, grade in found.items()} for qid, found in qrels.items()}
