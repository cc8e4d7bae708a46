"""A stage and a kind of model that the package does not have, as somebody would add them: two rows and what they name.

The model counts characters; its training learns how rare each one is.
"""

import json
from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
from kedro.pipeline import Node, Pipeline

from ruri_kedro.benchmark.scoring.evaluate import evaluate_embedder
from ruri_kedro.benchmark.scoring.models import Embedder
from ruri_kedro.benchmark.tasks.stored import stored_task
from ruri_kedro.models.kinds import KINDS, saved_kind
from ruri_kedro.recipe.stages import Stage
from ruri_kedro.registry.evidence.card_texts import CardText
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import Part
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import key_of
from ruri_kedro.training.stages import train_stage

STAGE = Stage(
    name="counting",
    pipeline="word_model",
    node="count_words",
    block="counting",
    settings="ruri_kedro.training.settings:RerankingSettings",
    start="pretrained_model",
    model="word_model",
    kind="words",
    objectives=("contrastive",),
    mining="supervised",
    examples="counting_examples",
    evaluated_as="words",
    registered_as="ruri-words-{recipe}",
)
KIND = replace(
    KINDS["embedder"],
    name="words",
    word="words",
    model_class="word_model:WordModel",
    start="word_model:start",
    train="word_model:train",
    trains_with=(),
    finish=None,
    evaluate="word_model:evaluation_nodes",
    register="word_model:register",
    served="word_model:served",
    card="word_model:CARD",
    folder="words",
)
CARD = CardText("sentence-similarity", ("words",), "Counts characters.", "# {name}", prompts=False)
registered = []  # what `register` was given


class WordModel:
    """A weight for each character; others weigh nothing."""

    def __init__(self, weights):
        self.weights = weights

    def encode(self, texts):
        counts = [Counter(text) for text in texts]
        vectors = np.array([[count[char] * weight for char, weight in self.weights.items()] for count in counts])
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def save_pretrained(self, path):
        folder = Path(path)
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "WordModel"}), "utf-8")
        (folder / "weights.json").write_text(json.dumps(self.weights), "utf-8")


def load(folder):
    return WordModel(json.loads((folder / "weights.json").read_text("utf-8")))


def start(folder, prompts, max_length, seed):
    return load(folder) if saved_kind(folder) is KIND else WordModel({})


def train(model, *, examples, passages, stage, on_step):
    texts = [set(text) for text in passage_texts(passages).values()]
    counts = Counter(char for chars in texts for char in chars)
    model.weights = {char: log(1 + len(texts) / count) for char, count in sorted(counts.items())}
    on_step(1, {"loss": 0.0})
    return model


def count_words(pretrained_model: Path, examples, passages, settings, run):
    return train_stage("counting", pretrained_model, examples, passages, settings, run, step_logger)


def create_pipeline():
    inputs = ["pretrained_model", "counting_examples", "passages", "params:counting", "params:run"]
    return Pipeline([Node(count_words, inputs, "word_model", name="count_words")])


def search_words(test_sets: Path):
    return {}


def score_words(test_sets: Path, tasks: dict, model: Path):
    def rows(task):
        return evaluate_embedder("words", stored_task(test_sets, task), lambda texts, role: load(model).encode(texts))

    return {task: Part(key_of(task=task), lambda task=task: iter([rows(task)])) for task in tasks}


def evaluation_nodes(name, dataset):
    return [
        Node(search_words, ["test_sets"], f"runs_{name}", name=f"search_{name}"),
        Node(score_words, ["test_sets", "params:tasks", dataset], f"scores_{name}", name=f"score_{name}"),
    ]


def register(folder, name, metrics, evidence):
    registered.append((folder, name, metrics, evidence))
    return 1


def served(model):
    return Embedder("model", lambda texts, role: model.encode(texts))
