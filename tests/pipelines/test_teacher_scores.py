"""The teacher's scores are written in shards, and a killed run goes on behind the last of them."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_tiny_late, tiny_reranker
from train_tables import FINETUNING, tables

from ruri_kedro.errors import RecipeError, TrainingError
from ruri_kedro.models import base
from ruri_kedro.models import forward as encode
from ruri_kedro.pipelines.finetuning import nodes
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, write_table
from ruri_kedro.training.settings import FinetuningSettings

SETTINGS = {
    "teacher": {"kind": "cross_encoder", "name": None},
    "teacher_max_length": 32,
    "teacher_precision": "float32",
    "chunk_tokens": 64,
}
PAIRS = 36  # of each source: 12 examples of one positive and two negatives


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Write the scores into a folder; the table, and how many pairs were scored for it."""
    monkeypatch.setattr(nodes, "SHARD_PAIRS", 10)
    tiny_reranker(tmp_path / "body").save_pretrained(str(tmp_path / "teacher"))
    examples, passages = tables(tmp_path, "distillation")
    original = encode.score_pairs

    def write(folder, interrupt_after=None, device="cpu", **settings):
        scored = []

        def counted(model, pairs, *rest, **options):
            if len(scored) == interrupt_after:
                raise KeyboardInterrupt
            scored.append(len(pairs))
            assert model.device.type == device
            return np.zeros(len(pairs)) if device == "meta" else original(model, pairs, *rest, **options)

        monkeypatch.setattr(encode, "score_pairs", counted)
        parts = nodes.score_with_teacher(examples, passages, tmp_path / "teacher", SETTINGS | settings, device)
        return write_table(tmp_path / folder, SCHEMAS["teacher_scores"], parts), scored

    return write


def test_an_interrupted_scoring_is_continued_to_the_same_scores(score):
    whole, scored = score("whole")
    assert scored == [10, 10, 10, 6, 10, 10, 10, 6]
    with pytest.raises(KeyboardInterrupt):
        score("killed", interrupt_after=2)
    table, scored = score("killed")
    assert scored == [10, 6, 10, 10, 10, 6]
    assert table.read().equals(whole.read())
    assert table.rows() == 2 * PAIRS
    assert score("killed")[1] == []


def test_scores_stand_by_query_and_passage(score):
    table, _ = score("scores")
    rows = list(table.iter_rows(["faq"]))
    assert {(row["query_id"], row["docid"]) for row in rows} == {
        (f"q{i}", str(d)) for i in range(12) for d in (i + 12, i + 24, (i + 1) % 12 + 24)
    }
    assert len({row["score"] for row in rows}) > PAIRS // 2


def test_the_teacher_scores_on_the_device_of_the_run(score):
    table, scored = score("scores", device="meta")  # a device without data, where there is no GPU
    assert table.rows() == sum(scored) == 2 * PAIRS


def test_pairs_longer_than_the_teacher_reads_are_refused(score, monkeypatch):
    monkeypatch.setattr(base, "learned_positions", lambda model: 30)
    with pytest.raises(RecipeError, match=r"finetuning.teacher_max_length: 32, but the model reads 30 tokens at most"):
        score("scores")


def test_every_example_that_is_dropped_is_listed(score, tmp_path):
    scores, _ = score("scores")
    examples, _ = tables(tmp_path, "distillation")
    settings = {"threshold": None, "keep_share": 0.25, "min_kept": 0.1}
    parts, _, weak = nodes.drop_weak_positives(examples, scores, settings, False)
    kept = {row["example_id"] for part in parts.values() for block in part.rows() for row in block}
    every = {row["example_id"]: row for row in examples.iter_rows()}
    assert len(kept) == 6 and set(weak["example_id"]) == every.keys() - kept
    logits = {(row["query_id"], row["docid"]): row["score"] for row in scores.iter_rows()}
    for row in weak.to_dict("records"):
        example = every[row["example_id"]]
        assert (row["source"], row["query_id"], row["docid"]) == (
            example["source"], example["query_id"], example["positive"]
        )  # fmt: skip
        assert row["score"] == pytest.approx(1 / (1 + np.exp(-logits[row["query_id"], row["docid"]])))
    assert weak["score"].is_monotonic_increasing
    none = nodes.drop_weak_positives(examples, scores, settings | {"threshold": 0.0}, False)[2]
    assert len(none) == 0 and list(none.columns) == list(weak.columns)


def test_another_precision_scores_anew(score):
    exact, _ = score("scores")
    values = [row["score"] for row in exact.iter_rows()]
    table, scored = score("scores", teacher_precision="bfloat16")
    found = [row["score"] for row in table.iter_rows()]
    assert sum(scored) == 2 * PAIRS
    assert found != values and found == pytest.approx(values, abs=0.05 * np.ptp(values))


def test_an_unknown_precision_is_an_error(score):
    with pytest.raises(RecipeError, match=r"finetuning.teacher_precision: 'half'; use float32, bfloat16 or float16"):
        score("scores", teacher_precision="half")


@pytest.mark.parametrize(
    ("precision", "remedy"), [("float16", "teacher_precision to bfloat16"), ("float32", "weights")]
)
def test_a_score_that_is_no_number_is_an_error_and_not_kept(score, tmp_path, precision, remedy):
    path = tmp_path / "teacher/model.safetensors"
    weights = load_file(path)
    save_file({name: torch.full_like(value, torch.nan) for name, value in weights.items()}, path, {"format": "pt"})
    with pytest.raises(TrainingError, match=rf"score of query q0 and passage 12 is nan, 10 of 10 .*{remedy}"):
        score("scores", teacher_precision=precision)
    assert not list((tmp_path / "scores").glob("*/manifest.json"))


def test_a_late_interaction_model_teaches_by_its_mean_max_sim(score, tmp_path):
    from sentence_transformers import MultiVectorEncoder

    late = save_tiny_late(tmp_path / "late")
    teacher = {"kind": "multi_vector", "name": str(late), "revision": None}
    table, _ = score("scores", teacher=teacher)
    found = {(row["query_id"], row["docid"]): row["score"] for row in table.iter_rows(["faq"])}
    examples, passages = tables(tmp_path, "distillation")
    rows = [row for row in examples.iter_rows(["faq"]) if row["split"] == "train"]
    texts = {row["docid"]: row["text"] for row in passages.iter_rows(["faq"])}
    model = MultiVectorEncoder(str(late), device="cpu")
    asked = model.encode_query([texts[row["anchor"]] for row in rows])
    given = model.encode_document([texts[row["positive"]] for row in rows])
    sums = model.similarity_pairwise(asked, given).tolist()
    expected = [total / len(query) for total, query in zip(sums, asked, strict=True)]
    assert [found[row["query_id"], row["positive"]] for row in rows] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(RecipeError, match="is not a model of the kind multi_vector"):
        score("refused", teacher=teacher | {"name": str(tmp_path / "teacher")})
    with pytest.raises(RecipeError, match=r"finetuning.teacher.name: null, but the kind is multi_vector"):
        parse(FinetuningSettings, FINETUNING | {"teacher": teacher | {"name": None}}, "finetuning")
