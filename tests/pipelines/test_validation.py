"""Held-out pairs are searched among held-out positives only."""

import numpy as np

from ruri_kedro.benchmark.scoring.models import Embedder
from ruri_kedro.pipelines.evaluation import nodes
from ruri_kedro.tables import SCHEMAS, Part, write_table

SOURCES = {"quiz": {"kind": "question_to_passage", "path": "quiz.jsonl"}}
TEXTS = {"q1": "北の山", "q2": "南の川", "p1": "白山", "p2": "川は南", "seen": "北の山は白山", "q3": "山"}
DIRECTIONS = {"北の山": (1, 0), "南の川": (0, 1), "白山": (0.8, 0.6), "川は南": (0, 1), "北の山は白山": (1, 0)}


def pair(split, anchor, positive):
    return {"pair_id": anchor, "query_id": anchor, "source": "quiz", "split": split, "anchor": anchor,
            "positive": positive, "given_negatives": [], "answers": [], "origin": "given"}  # fmt: skip


def test_positives_of_training_pairs_are_no_distractors(tmp_path, monkeypatch):
    asked = []

    def encode(texts, role):
        asked.extend(texts)
        return np.array([DIRECTIONS[text] for text in texts], dtype=np.float32)

    monkeypatch.setattr(nodes, "asks", lambda folder: lambda name, *_: Embedder(name, encode))
    passages = [
        {"docid": name, "source": "quiz", "title": "", "section": "", "text": text} for name, text in TEXTS.items()
    ]
    pairs = [pair("validation", "q1", "p1"), pair("validation", "q2", "p2"), pair("train", "q3", "seen")]
    tables = {
        name: write_table(tmp_path / name, SCHEMAS[name], {"quiz": Part("k", lambda rows=rows: [rows])})
        for name, rows in (("passages", passages), ("pairs", pairs))
    }
    scores = nodes.validate(tmp_path, tables["pairs"], tables["passages"], SOURCES, {}, {})
    assert scores == {"quiz/ndcg@10": 1.0, "quiz/recall@10": 1.0}
    assert "北の山は白山" not in asked


def test_a_source_is_validated_with_its_own_prompts(tmp_path, monkeypatch):
    given = []

    def asked(name, load, prompts, evaluation):
        given.append(dict(prompts))
        return Embedder(name, by_text)

    monkeypatch.setattr(nodes, "asks", lambda folder: asked)
    own = {"query": "文: ", "document": "節: "}
    sources = {"quiz": SOURCES["quiz"] | {"prompts": own}, "plain": SOURCES["quiz"]}
    passages = [{"docid": name, "title": "", "section": "", "text": text} for name, text in TEXTS.items()]
    rows = {"passages": passages, "pairs": [pair("validation", "q1", "p1")]}
    tables = {
        name: write_table(tmp_path / name, SCHEMAS[name], {
            source: Part("k", lambda rows=rows, source=source: [[row | {"source": source} for row in rows]])
            for source in sources
        })
        for name, rows in rows.items()
    }  # fmt: skip
    recipe = {"query": "問: ", "document": "文章: "}
    nodes.validate(tmp_path, tables["pairs"], tables["passages"], sources, recipe, {})
    assert given == [own, recipe]


def test_a_source_with_labels_is_validated_by_the_order_of_its_cosines(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "asks", lambda folder: lambda name, *_: Embedder(name, by_text))
    sources = {"quiz": {"kind": "labelled_pair", "path": "quiz.jsonl"}}
    pairs = [pair("validation", "q1", "p1") | {"label": 3.0}, pair("validation", "q2", "p2") | {"label": 5.0},
             pair("validation", "q1", "p2") | {"label": 0.0}, pair("train", "q1", "seen") | {"label": 1.0}]  # fmt: skip
    passages = [
        {"docid": name, "source": "quiz", "title": "", "section": "", "text": text} for name, text in TEXTS.items()
    ]
    tables = {
        name: write_table(tmp_path / name, SCHEMAS[name], {"quiz": Part("k", lambda rows=rows: [rows])})
        for name, rows in (("passages", passages), ("pairs", pairs))
    }
    assert nodes.validate(tmp_path, tables["pairs"], tables["passages"], sources, {}, {}) == {"quiz/spearman": 1.0}


def by_text(texts, role):
    return np.array([DIRECTIONS[text] for text in texts], dtype=np.float32)
