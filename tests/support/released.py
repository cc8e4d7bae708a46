"""What a release is made of: the facts of a card, the terms of the licences, rows of the tables."""

from pathlib import Path

import yaml
from judged import REPOSITORY, TESTS, scores

from ruri_kedro.registry.evidence.card import model_card
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.publishing.terms import Terms, parse_terms
from ruri_kedro.tables import SCHEMAS, Part, Table, write_table

TRAINED = {"run_id": "abc", "reproduce": "kedro run --env tiny", "git_commit": "c0ffee", "git_dirty": "true",
           "version.torch": "2.13.0"}  # fmt: skip
TRAINING = {
    "sources": {
        "news": {"licence": "CC BY 2.5", "origin": "given", "pairs": 12345, "examples": {"pretraining": 12000}},
        "autowikiqa": {"licence": "Apache-2.0", "origin": "synthetic", "pairs": 10, "examples": {"finetuning": 9}},
        "wiki": {"licence": "CC BY-SA 4.0", "origin": "given", "pairs": 0, "examples": {}},
    },
    "tables": {"pretraining": {}, "reranking_stage1": {}, "finetuning": {}},
    "trained": {
        "pretraining": TRAINED | {"settings": {"learning_rate": 1e-3, "max_length": 128}},
        "reranking_stage1": TRAINED | {"settings": {"max_length": 512}},
        "finetuning": TRAINED | {"run_id": "def", "reproduce": "kedro run --pipelines finetuning",
                                 "settings": {"max_length": 256, "temperature": None, "min_kept": 0.1}},
    },
    "base_model": {"name": "tohoku-nlp/bert-base-japanese-v3", "revision": "65243d6"},
    "data": {"pairs": "all-pairs", "dvc.data/01_raw/tiny": "aaa.dir"},
    "made": {"run_id": "fff", "reproduce": "kedro run --pipelines evaluation", "git_commit": "1234"},
}  # fmt: skip
EVIDENCE = Evidence(
    kind="embedder",
    training=TRAINING,
    contamination={
        "tests": list(TESTS),
        "stages": {"pretraining": {"examples": 12000, "leaked": 0}},
        "sources": {"news": {"removed": 345, "reported": 1}},
    },
    scores=scores(),
    tests=TESTS,
)


def card(evidence: Evidence = EVIDENCE, **changed) -> str:
    """The card of a model with this evidence."""
    given = {
        "name": "ruri-tiny",
        "licence": "cc-by-sa-4.0",
        "limits": "Not for medical texts.",
        "prompts": {"query": "クエリ: ", "document": "文章: "},
    }
    return model_card(evidence, **given | changed)


def block(**changed) -> dict:
    """The shipped block `publication`."""
    text = (REPOSITORY / "conf/base/parameters_publication.yml").read_text("utf-8")
    return yaml.safe_load(text)["publication"] | changed


def terms(model: str = "apache-2.0", dataset: str = "apache-2.0", **changed) -> Terms:
    return parse_terms(block(licence={"model": model, "dataset": dataset}, **changed))


def pair(number: int, positive: str, split: str = "train") -> dict:
    return {"pair_id": f"p{number}", "query_id": f"q{number}", "source": "qa", "split": split, "anchor": "a",
            "positive": positive, "given_negatives": [], "answers": [], "origin": "given"}  # fmt: skip


def example(number: int, positive: str, negatives: str, split: str = "train") -> dict:
    return {"example_id": f"e{number}", "pair_id": f"p{number}", "query_id": f"q{number}", "source": "qa",
            "split": split, "objective": "contrastive", "anchor": "a", "positive": positive,
            "negatives": list(negatives), "shuffled": False}  # fmt: skip


def table(root: Path, schema: str, rows: list[dict]) -> Table:
    return write_table(root, SCHEMAS[schema], {"qa": Part("key", lambda: [rows])})
