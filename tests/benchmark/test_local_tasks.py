"""Local tasks against mteb's own: the same texts and vectors have the same figures."""

import json
from statistics import fmean

import mteb
import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb_stand_ins import Recorder

from ruri_kedro.benchmark.mteb.model import EncodingSettings, benchmark_encoder
from ruri_kedro.benchmark.mteb.run import evaluate_tasks
from ruri_kedro.benchmark.scoring.evaluate import evaluate_embedder
from ruri_kedro.benchmark.tasks.bitext import BitextTask
from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.benchmark.tasks.multilabel import MultilabelTask
from ruri_kedro.benchmark.tasks.pair import PairTask

NO_PROMPTS = dict.fromkeys(
    ("query", "document", "STS", "PairClassification", "MultilabelClassification", "BitextMining"), ""
)
JSICK_FIELDS = {"text1": "sentence_A_Ja", "text2": "sentence_B_Ja"}
SPECS = {
    "jsts": {"type": "sts", "path": "ja/jsts/valid.jsonl.gz"},
    "jsick": {"type": "sts", "path": "ja/jsick/test.jsonl.gz", "fields": {**JSICK_FIELDS, "score": "relatedness"}},
    "jsick_pairs": {"type": "pair", "path": "ja/jsick/test.jsonl.gz", "positive": ["entailment"],
                    "fields": {**JSICK_FIELDS, "label": "entailment_label"}},
    "jnli": {"type": "pair", "path": "ja/jnli/valid.jsonl.gz", "positive": ["entailment"],
             "fields": {"text1": "premise", "text2": "hypothesis"}},
    "tatoeba": {"type": "bitext", "path": "ja/tatoeba_bitext/test.jsonl.gz"},
    "topics": {"type": "multilabel", "train": "ru/sensitive_topics/v2_val.jsonl.gz",
               "path": "ru/sensitive_topics/v2_test.jsonl.gz"},
    "jsquad": {"type": "retrieval", "shape": "qa", "path": "ja/jsquad/valid.jsonl.gz"},
}  # fmt: skip


def of_mteb(name: str, out, monkeypatch, settings=None, **data) -> dict[str, float]:
    """mteb's figures of its task `name`, on the data `test` (and `train`) in place of its own."""
    task = mteb.get_task(name)
    split, subset = task.metadata.eval_splits[0], task.hf_subsets[0]
    parts = {split: data["test"]} | ({task.train_split: data["train"]} if "train" in data else {})
    dataset = parts if task.metadata.type == "Retrieval" else DatasetDict(parts)
    nested = task.metadata.is_multilingual or task.metadata.type == "Retrieval"

    def load_data(self, num_proc=None, **kwargs):
        self.dataset, self.data_loaded = ({subset: dataset} if nested else dataset), True
        vars(self).update(settings or {})

    monkeypatch.setattr(type(task), "load_data", load_data)
    task.hf_subsets, task._eval_splits = [subset], [split]
    encoder = benchmark_encoder("tests/fake", "r1", Recorder(), EncodingSettings(NO_PROMPTS, 512, 4096, {}), out)
    evaluate_tasks([task], encoder, out)
    [path] = (out / "results").rglob(f"{name}.json")
    [scores] = json.loads(path.read_text("utf-8"))["scores"][split]
    return scores


def ours(task) -> dict[str, float]:
    """Means of a task by metric."""
    found: dict[str, list[float]] = {}
    for row in evaluate_embedder("fake", task, lambda texts, role: Recorder()(texts, "", 512, 4096)):
        found.setdefault(row["metric"], []).append(row["score"])
    return {metric: fmean(scores) for metric, scores in found.items()}


@pytest.mark.parametrize(("name", "theirs"), [("jsts", "JSTS"), ("jsick", "JSICK")])
def test_similarity_of_sentences(shared_data, tmp_path, monkeypatch, name, theirs):
    task = load_task(name, SPECS[name], shared_data)
    columns = {"sentence1": task.texts1, "sentence2": task.texts2, "score": task.scores}
    scores = of_mteb(theirs, tmp_path, monkeypatch, test=Dataset.from_dict(columns))
    assert ours(task)["spearman"] == pytest.approx(scores["main_score"], abs=1e-5)


@pytest.mark.long
def test_questions_and_their_paragraphs(shared_data, tmp_path, monkeypatch):
    task = load_task("jsquad", SPECS["jsquad"], shared_data)
    data = RetrievalSplitData(
        corpus=Dataset.from_list([{"id": docid, "title": "", "text": text} for docid, text in task.corpus.items()]),
        queries=Dataset.from_list([{"id": qid, "text": text} for qid, text in task.queries.items()]),
        relevant_docs=task.qrels,
        top_ranked=None,
    )
    scores = of_mteb("JaGovFaqsRetrieval", tmp_path, monkeypatch, test=data)
    for metric, found in ours(task).items():
        assert found == pytest.approx(scores[metric.replace("@", "_at_")], abs=1e-5), metric


@pytest.mark.parametrize("name", ["jnli", "jsick_pairs"])
def test_pairs_that_belong_together(shared_data, tmp_path, monkeypatch, name):
    task = load_task(name, SPECS[name], shared_data)
    columns = {"sentence1": task.texts1, "sentence2": task.texts2, "labels": task.labels}
    scores = of_mteb("TERRa", tmp_path, monkeypatch, test=Dataset.from_dict(columns))
    assert ours(task) == pytest.approx({"ap": scores["cosine_ap"], "f1": scores["cosine_f1"]}, abs=1e-5)
    assert 0 < sum(task.labels) < len(task.labels)


def test_translations(shared_data, tmp_path, monkeypatch):
    task = load_task("tatoeba", SPECS["tatoeba"], shared_data)
    data = Dataset.from_dict({"sentence1": task.texts1, "sentence2": task.texts2})
    scores = of_mteb("Tatoeba", tmp_path, monkeypatch, test=data)
    assert ours(task) == pytest.approx({"accuracy": scores["accuracy"], "f1": scores["f1"]}, abs=1e-5)


def test_several_labels(shared_data, tmp_path, monkeypatch):
    """mteb's classifier, told to take every training text."""
    whole = load_task("topics", SPECS["topics"], shared_data)
    task = MultilabelTask("t", whole.train_texts[:900], whole.train_labels[:900], whole.test_texts[:300],
                          whole.test_labels[:300])  # fmt: skip
    data = {part: Dataset.from_dict({"text": getattr(task, f"{part}_texts"), "label": getattr(task, f"{part}_labels")})
            for part in ("train", "test")}  # fmt: skip
    settings = {"samples_per_label": len(task.train_texts), "n_experiments": 1}
    scores = of_mteb("SensitiveTopicsClassification", tmp_path, monkeypatch, settings, **data)
    expected = {"accuracy": scores["accuracy"], "macro_f1": scores["f1"], "lrap": scores["lrap"]}
    assert ours(task) == pytest.approx(expected, abs=1e-5)


def test_a_perfect_encoder_has_full_marks():
    """Texts that are the same have the same vector here, others are at right angles."""

    def encode(texts, role):
        return np.eye(8, dtype=np.float32)[[int(text[0]) for text in texts]]

    def scores(task):
        return {row["metric"]: row["score"] for row in evaluate_embedder("m", task, encode)}

    assert scores(PairTask("p", ("1", "2", "3"), ("1", "2", "4"), (1, 1, 0))) == {"ap": 1, "f1": 1}
    labels = (("a",), ("b",), ("a", "b"), ())
    train = tuple(text for text in "1234" for _ in range(5))
    task = MultilabelTask("m", train, tuple(found for found in labels for _ in range(5)), ("1", "2", "3", "4"), labels)
    assert scores(task) == {"accuracy": 1, "macro_f1": 1, "lrap": 1}
    rows = evaluate_embedder("m", BitextTask("b", ("1", "2", "3"), ("1", "3", "2")), encode)
    assert [(row["metric"], row["query_id"], row["score"]) for row in rows] == [
        ("accuracy", "0", 1), ("accuracy", "1", 0), ("accuracy", "2", 0), ("f1", "", pytest.approx(1 / 3)),
    ]  # fmt: skip
