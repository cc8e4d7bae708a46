"""A training from tables: what it reports, what stops it, and what is refused before it starts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from process_parts import Scores
from scipy.stats import spearmanr
from tiny import PROMPTS, tiny_encoder, tiny_reranker
from train_tables import examples_table, stage, tables

from ruri_kedro.errors import DataError, RecipeError, TrainingError
from ruri_kedro.models.forward import encode
from ruri_kedro.models.token_cache import TokenCache
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.training import planning
from ruri_kedro.training.objectives import rows_loss
from ruri_kedro.training.plan import Plan
from ruri_kedro.training.run import train_embedder, train_reranker


def test_a_step_reports_the_loss_of_its_source_and_its_padding(tmp_path):
    seen = []
    train_embedder(
        tiny_encoder(), *tables(tmp_path), PROMPTS, stage(tmp_path), lambda step, metrics: seen.append(metrics)
    )
    assert len(seen) == 6
    for metrics in seen:
        own = [name for name in metrics if name.startswith("source_loss/")]
        assert [metrics[name] for name in own] == [metrics["loss"]]
        assert 0 <= metrics["padding_share"] < 0.5 and metrics["tokens_per_second"] > 0
        assert -1 <= metrics["similarity"] < 0.99
    names = {name for metrics in seen for name in metrics if name.startswith("source_loss/")}
    assert len(names) == 2 and all(name.startswith(("source_loss/faq", "source_loss/nli")) for name in names)


def test_a_source_has_prompts_of_its_own(tmp_path, monkeypatch):
    read, rows = set(), TokenCache.rows

    def spy(self, texts, *rest, **more):
        read.update(texts)
        return rows(self, texts, *rest, **more)

    monkeypatch.setattr(TokenCache, "rows", spy)
    own = {"nli": {"query": "文: ", "document": "文: "}, "elsewhere": PROMPTS}
    data = tables(tmp_path)

    def train(own):
        def on_step(step, metrics):
            if step == 3:  # behind the first checkpoint
                raise KeyboardInterrupt

        train_embedder(tiny_encoder(), *data, PROMPTS, stage(tmp_path), on_step, source_prompts=own)

    with pytest.raises(KeyboardInterrupt):
        train(own)
    assert {text.partition(" ")[0] for text in read} == {"クエリ:", "文章:", "文:"}
    bare = {text.partition(" ")[2] for text in read if text.startswith("文: ")}
    assert bare == {text.partition(" ")[2] for text in read if not text.startswith("文: ")}
    with pytest.raises(TrainingError, match="prompts of sources"):
        train({"nli": PROMPTS})


@pytest.mark.parametrize("prompts", [{"query": "", "document": ""}, PROMPTS])
def test_dropout_tells_the_equal_sides_of_unsupervised_pairs_apart(tmp_path, monkeypatch, prompts):
    first, passages = tables(tmp_path)
    rows = [row | {"positive": row["anchor"], "negatives": []} for row in first.iter_rows(["faq"])]
    twins, seen, steps = examples_table(tmp_path / "twins", {"faq": rows}), [], []

    def spy(objective, rows, settings):
        seen.append(rows.vectors.detach().clone())
        return rows_loss(objective, rows, settings)

    monkeypatch.setattr("ruri_kedro.training.objectives.rows_loss", spy)
    model = tiny_encoder(dropout=0.3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    used = stage(tmp_path, {"steps": 1, "rows": 5}, freeze_position_embeddings=True)
    train_embedder(model, twins, passages, prompts, used, lambda step, metrics: steps.append(metrics))
    assert len(steps) == 3 and all(metrics["grad_norm"] > 0 for metrics in steps)
    assert json.loads((tmp_path / "checkpoints/tuned/dropped.json").read_text("utf-8")) == []
    for vectors in seen:
        anchors, positives = vectors[:, 0], vectors[:, 1]
        assert ((anchors - positives).abs().amax(dim=1) > 1e-3).all()
        assert len(torch.unique(vectors.flatten(0, 1), dim=0)) == 8, "each side is encoded for itself"
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_layers_that_are_not_trained_stay_as_they_were(tmp_path):
    examples, passages = tables(tmp_path)
    model = tiny_encoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_embedder(model, examples, passages, PROMPTS, stage(tmp_path, trained_layers=1), lambda *_: None)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    last = model[0].auto_model.config.num_hidden_layers - 1
    assert changed and all(f"layers.{last}." in name or "final_norm" in name for name in changed)


def labelled(tmp_path, objective, held_out=0):
    """Pairs of few texts with labels, which repeat: of 12 rows four have the same anchor."""
    first, passages = tables(tmp_path, objective)
    rows = [
        row | {"anchor": str(number % 3), "negatives": [], "label": float(number % 5),
               "split": "validation" if number < held_out else "train"}
        for number, row in enumerate(first.iter_rows(["faq"]))
    ]  # fmt: skip
    return examples_table(tmp_path / "labelled", {"faq": rows}), passages


@pytest.mark.parametrize("objective", ["cosent", "angle"])
def test_labels_of_pairs_are_learnt_in_batches_that_repeat_texts(tmp_path, objective):
    seen = []
    used = stage(tmp_path, {"steps": 100, "rows": 12}, batch_size=12, epochs=30, learning_rate=3e-3)
    data = labelled(tmp_path, objective)
    train_embedder(tiny_encoder(), *data, PROMPTS, used, lambda step, metrics: seen.append(metrics))
    assert len(seen) == 30 and seen[-1]["loss"] < 0.9 * seen[0]["loss"]
    assert json.loads((tmp_path / "checkpoints/tuned/dropped.json").read_text("utf-8")) == []
    assert json.loads((tmp_path / "checkpoints/tuned/steps.json").read_text("utf-8"))["objectives"] == {objective: 30}


def test_held_out_pairs_with_labels_are_measured_by_the_order_of_their_cosines(tmp_path):
    data, seen = labelled(tmp_path, "cosent", held_out=6), []
    used = stage(tmp_path, {"steps": 1, "rows": 6}, batch_size=6, epochs=1)
    model = train_embedder(tiny_encoder(), *data, PROMPTS, used, lambda step, metrics: seen.append(metrics))
    rows = [row for row in data[0].iter_rows() if row["split"] == "validation"]
    texts = passage_texts(data[1])
    first, second = (
        encode(model, [texts[row[side]] for row in rows], PROMPTS[role], 32, 1000)
        for side, role in (("anchor", "query"), ("positive", "document"))
    )
    expected = spearmanr((first * second).sum(axis=1), [row["label"] for row in rows]).statistic
    assert seen[-1]["held_out/spearman"] == pytest.approx(expected)
    assert not {"held_out/alignment", "held_out/ndcg_at_10"} & seen[-1].keys()


def test_a_labelled_objective_without_labels_or_halves_is_refused(tmp_path):
    data = tables(tmp_path, "cosent")
    with pytest.raises(
        DataError, match=r"source 'faq' \(cosent\) has no label\. Give the source the kind labelled_pair"
    ):
        train_embedder(tiny_encoder(), *data, PROMPTS, stage(tmp_path), refuse)
    with pytest.raises(RecipeError, match=r"tuned: the objective angle halves embeddings, but 15 is odd"):
        used = stage(tmp_path / "odd", matryoshka_dims=[32, 15])
        train_embedder(tiny_encoder(), *labelled(tmp_path / "odd", "angle"), PROMPTS, used, refuse)


def test_a_step_of_a_reranker_reports_the_loss_of_each_source(tmp_path):
    seen = []
    train_reranker(
        tiny_reranker(tmp_path / "base"),
        *tables(tmp_path, "listwise"),
        stage(tmp_path, batch_size=8, keep_tokens=200),
        lambda step, metrics: seen.append(metrics),
    )
    assert len(seen) == 3
    for metrics in seen:
        by_source = [value for name, value in metrics.items() if name.startswith("source_loss/")]
        assert min(by_source) <= metrics["loss"] <= max(by_source)
        assert 0 <= metrics["padding_share"] < 0.5
        assert "similarity" not in metrics


def test_examples_in_no_batch_are_listed_by_epoch_and_source(tmp_path):
    used = []
    train_embedder(
        tiny_encoder(), *tables(tmp_path), PROMPTS, stage(tmp_path, batch_size=5, epochs=2), lambda *_: used.append(5)
    )
    listed = json.loads((tmp_path / "checkpoints/tuned/dropped.json").read_text("utf-8"))
    places = [(part["epoch"], part["source"][:3]) for part in listed]
    assert places == [(1, "faq"), (1, "nli"), (2, "faq"), (2, "nli")]
    for part in listed:
        assert part["repeating_a_text"] == []
        assert len(set(part["incomplete_batch"])) == 2
        assert all(name.startswith(part["source"][:3]) for name in part["incomplete_batch"])
    assert sum(used) + 8 == 2 * 24


def test_examples_whose_distillation_has_no_gradient_are_told(tmp_path, caplog):
    first, passages = tables(tmp_path, "distillation")
    rows = {name: list(first.iter_rows([name])) for name in ("faq", "nli")}
    for row in rows["nli"][:9]:
        row["negatives"] = row["negatives"][:1]
    data = examples_table(tmp_path / "fewer", rows), passages
    train_embedder(tiny_encoder(), *data, PROMPTS, stage(tmp_path), lambda *_: None, Scores())
    assert "9 of 12 examples of nli (distillation) teach nothing: they have fewer than 2 negatives" in caplog.text
    assert "examples of faq" not in caplog.text


@pytest.mark.parametrize("objective", ["distillation", "margin_mse"])
def test_examples_of_one_passage_are_distilled_in_full_batches(tmp_path, objective):
    """Its texts repeat in every row; no row is a negative of another."""
    first, passages = tables(tmp_path, objective)
    rows = {
        name: [row | {"negatives": ["30", "31", "32"]} for row in first.iter_rows([name])] for name in ("faq", "nli")
    }
    for row in rows["nli"]:
        row["objective"] = "contrastive"
    data, seen = examples_table(tmp_path / "alike", rows), {}
    used = stage(tmp_path)

    def on_step(step, metrics):
        seen.setdefault(next(name for name in metrics if name.startswith("source_loss/")), []).append(metrics)

    train_embedder(tiny_encoder(), data, passages, PROMPTS, used, on_step, Scores())
    counted = {name.removeprefix("source_loss/"): len(steps) for name, steps in seen.items()}
    assert counted == {f"faq {objective}": 3, "nli contrastive": 12}
    last = max(seen.values(), key=lambda steps: "steps/nli contrastive" in steps[-1])[-1]
    assert {name: last[f"steps/{name}"] for name in counted} == counted
    assert {name: last[f"in_no_batch/{name}"] for name in counted} == dict.fromkeys(counted, 0)
    told = json.loads((tmp_path / "checkpoints/tuned/steps.json").read_text("utf-8"))
    assert told["steps"] == 15 and told["objectives"] == {objective: 3, "contrastive": 12}


def without_step(tmp_path):
    """Examples of a source that fills batches and of one whose rows share their only passage."""
    first, passages = tables(tmp_path)
    rows = {name: list(first.iter_rows([name])) for name in ("faq", "nli")}
    for row in rows["nli"]:
        row.update(positive="35", negatives=[])
    return examples_table(tmp_path / "alike", rows), passages


def test_a_source_without_a_step_is_an_error_before_the_training(tmp_path):
    message = r"tuned would learn nothing from 1 of its 2 sources:\n  nli \(contrastive\): its texts repeat so often"
    with pytest.raises(RecipeError, match=message) as error:
        train_embedder(tiny_encoder(), *without_step(tmp_path), PROMPTS, stage(tmp_path), refuse)
    assert "run.allow_untrained: true" in str(error.value)


def test_a_recipe_can_allow_a_source_without_a_step(tmp_path, caplog):
    steps = []
    allowing = replace(stage(tmp_path), allow_untrained=True)
    train_embedder(tiny_encoder(), *without_step(tmp_path), PROMPTS, allowing, lambda step, _: steps.append(step))
    assert steps == [1, 2, 3] and "nothing is learnt from some sources (run.allow_untrained)" in caplog.text


@pytest.mark.parametrize("allowed", [False, True])
def test_a_training_without_any_step_is_an_error_in_any_case(tmp_path, allowed):
    examples, passages = without_step(tmp_path)
    alone = examples_table(tmp_path / "alone", {"nli": list(examples.iter_rows(["nli"]))})
    with pytest.raises(TrainingError, match="tuned would learn nothing"):
        used = replace(stage(tmp_path), allow_untrained=allowed)
        train_embedder(tiny_encoder(), alone, passages, PROMPTS, used, refuse)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], r"faq: it has no example for this stage"),
        ([{"objective": "info_nce", "split": "validation"}], r"faq \(info_nce\): all its examples are held out"),
        ([{"objective": "distillation", "negatives": ["30"]}], r"faq \(distillation\): no example has 2 negatives"),
        ([{"objective": "margin_mse", "negatives": []}], r"faq \(margin_mse\): no example has 1 negatives"),
    ],
)
def test_a_source_that_can_teach_nothing_is_named_before_its_texts_are_read(tmp_path, rows, reason):
    first, _ = tables(tmp_path)
    nli, [row] = list(first.iter_rows(["nli"])), list(first.iter_rows(["faq"]))[:1]
    examples = examples_table(tmp_path / "own", {"nli": nli, "faq": [row | changed for changed in rows]})
    with pytest.raises(RecipeError, match=f"tuned would learn nothing from 1 of its 2 sources:\n  {reason}"):
        train_embedder(tiny_encoder(), examples, None, PROMPTS, stage(tmp_path), refuse, Scores())


def test_a_source_that_is_in_no_mixed_batch_is_named(tmp_path):
    first, passages = tables(tmp_path, "listwise")
    rows = {"faq": list(first.iter_rows(["faq"])), "nli": list(first.iter_rows(["nli"]))[:1]}
    data = examples_table(tmp_path / "few", rows), passages
    last = next(seed for seed in range(99) if np.random.default_rng(seed).permutation(13)[-1] == 12)
    used = replace(stage(tmp_path, batch_size=12), seed=last)
    with pytest.raises(RecipeError, match=r"nli \(listwise\): all its examples are in last batches that are not full"):
        train_reranker(tiny_reranker(tmp_path / "base"), *data, used, refuse)


def test_mixed_batches_of_a_contrastive_loss_hold_a_text_once(tmp_path):
    first, passages = tables(tmp_path)
    steps = []
    used = stage(tmp_path, homogeneous=False, batch_size=24)
    train_embedder(tiny_encoder(), first, passages, PROMPTS, used, lambda step, _: steps.append(step))
    plan = Plan.open(tmp_path / "checkpoints/tuned/plan")
    assert [len(batch.rows) for batch in plan] == [12, 12] and steps == [1, 2]  # both sources have the same texts


def test_a_killed_training_is_continued_by_its_plan_to_the_same_weights(tmp_path, monkeypatch):
    def train(folder, on_step=lambda *_: None):
        return train_embedder(tiny_encoder(dropout=0.1), *tables(folder), PROMPTS, stage(folder), on_step).state_dict()

    def kill(step, metrics):
        if step == 3:
            raise KeyboardInterrupt

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", kill)
    monkeypatch.setattr(planning, "plan_batches", refuse)
    continued = train(tmp_path / "killed")
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


def test_a_model_with_one_embedding_for_all_texts_has_collapsed(tmp_path):
    model = tiny_encoder()
    with torch.no_grad():
        weight = model[0].auto_model.get_input_embeddings().weight
        weight.copy_(weight[5].expand_as(weight))
    with pytest.raises(TrainingError, match=r"tuned stopped: the embeddings have collapsed.*1.0000 at step 5 .*step 2"):
        train_embedder(model, *tables(tmp_path), PROMPTS, stage(tmp_path, learning_rate=1e-7), lambda *_: None)
    assert not list((tmp_path / "checkpoints/tuned").glob("step-*"))


def test_a_model_with_a_broken_weight_is_stopped_at_once(tmp_path):
    model = tiny_encoder()
    with torch.no_grad():
        model[0].auto_model.get_input_embeddings().weight[:] = float("nan")
    with pytest.raises(TrainingError, match=r"tuned stopped: loss nan .* at step 1. Examples of step 1: (faq|nli)\d+,"):
        train_embedder(model, *tables(tmp_path), PROMPTS, stage(tmp_path), lambda *_: None)


def test_matryoshka_embeddings_are_trained_from_the_parameters(tmp_path):
    losses = []
    for dims in (None, [32], [32, 8]):
        folder = tmp_path / str(dims)
        train_embedder(
            tiny_encoder(),
            *tables(folder),
            PROMPTS,
            stage(folder, matryoshka_dims=dims),
            lambda step, metrics: losses.append(metrics["loss"]) if step == 1 else None,
        )
    assert losses[0] == losses[1] < losses[2]


def only_examples(tmp_path, **objectives):
    """A table of a row per source, and passages that nobody reads."""
    first, passages = tables(tmp_path)
    row = next(first.iter_rows())
    rows = {
        source: [row | {"source": source, "objective": objective, "split": split}]
        for source, (objective, split) in objectives.items()
    }
    return examples_table(tmp_path / "own", rows), passages


def refuse(*_):
    raise AssertionError("training has begun")


@pytest.mark.parametrize(
    ("objective", "teacher", "allowed"),
    [
        ("magic", None, "contrastive, info_nce, listwise, cosent, angle."),
        ("magic", {}, "contrastive, info_nce, listwise, cosent, angle, distillation, margin_mse."),
        ("margin_mse", None, "contrastive, info_nce, listwise, cosent, angle."),
        ("masked_language_modelling", {}, "contrastive, info_nce, listwise, cosent, angle, distillation, margin_mse."),
    ],
)
def test_an_objective_that_cannot_be_trained_is_one_error(tmp_path, objective, teacher, allowed):
    data = only_examples(tmp_path, news=("contrastive", "train"), faq=(objective, "train"), old=("dead", "validation"))
    message = rf"sources.faq.stages.tuned.objective: '{objective}' cannot be trained here. Allowed: {allowed}"
    with pytest.raises(RecipeError, match=message):
        train_embedder(tiny_encoder(), *data, PROMPTS, stage(tmp_path), refuse, teacher)


def test_a_reranker_is_trained_listwise_only(tmp_path):
    with pytest.raises(RecipeError, match=r"sources.faq.stages.tuned.objective: 'contrastive'.*Allowed: listwise."):
        data = only_examples(tmp_path, faq=("contrastive", "train"))
        train_reranker(tiny_reranker(tmp_path / "base"), *data, stage(tmp_path), refuse)


def test_no_training_rows_are_an_error(tmp_path):
    with pytest.raises(TrainingError, match="no training rows"):
        data = only_examples(tmp_path, a=("contrastive", "validation"))
        train_embedder(tiny_encoder(), *data, PROMPTS, stage(tmp_path), refuse)


@pytest.mark.parametrize(
    ("device", "devices", "message"),
    [
        ("cuda:1", 1, "run.device: 'cuda:1'; give auto, cpu or cuda, and CUDA_VISIBLE_DEVICES"),
        ("cuda", "auto", "device 'cuda': torch finds no CUDA device here"),
        ("cpu", 0, "run.devices: 0"),
    ],
)
def test_a_device_that_a_training_cannot_have_is_named_before_anything_is_read(
    tmp_path, monkeypatch, device, devices, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=message):
        replace(stage(tmp_path), device=device, devices=devices).check()


def test_examples_without_negatives_teach_no_order(tmp_path):
    first, passages = tables(tmp_path, "distillation")
    rows = {name: [row | {"negatives": []} for row in first.iter_rows([name])] for name in ("faq", "nli")}
    bare = examples_table(tmp_path / "bare", rows)
    with pytest.raises(TrainingError, match=r"(?s)tuned would learn nothing:.*faq \(distillation\).*nli \(dist"):
        train_embedder(tiny_encoder(), bare, passages, PROMPTS, stage(tmp_path), refuse, {})


def test_batches_that_mix_sources_have_one_objective(tmp_path):
    data = only_examples(tmp_path, faq=("contrastive", "train"), nli=("info_nce", "train"))
    with pytest.raises(RecipeError, match=r"tuned.homogeneous: false, .*\['contrastive', 'info_nce'\]"):
        train_embedder(tiny_encoder(), *data, PROMPTS, stage(tmp_path, homogeneous=False), refuse)


def test_a_training_goes_on_with_less_memory(tmp_path):
    def train(folder, kill_at=None, **settings):
        def on_step(step, metrics):
            losses.append(metrics["loss"])
            if step == kill_at:
                raise MemoryError

        losses = []
        model = train_embedder(tiny_encoder(), *tables(folder), PROMPTS, stage(folder, **settings), on_step)
        return model.state_dict(), losses

    whole, losses = train(tmp_path / "whole", keep_tokens=10_000)
    with pytest.raises(MemoryError):
        train(tmp_path / "killed", kill_at=3, keep_tokens=10_000)
    smaller, rest = train(tmp_path / "killed", chunk_tokens=32, keep_tokens=0, checkpoint_steps=1)
    assert len(rest) == 4 and rest == pytest.approx(losses[2:], rel=1e-4)
    for name in whole:
        torch.testing.assert_close(whole[name], smaller[name], rtol=1e-3, atol=1e-5)


def test_two_runs_do_not_train_the_same_stage(tmp_path):
    def second(step, metrics):
        with pytest.raises(TrainingError, match=r"tuned: another run is at this training.*run.checkpoints"):
            train_embedder(tiny_encoder(), *tables(tmp_path), PROMPTS, stage(tmp_path), refuse)
        steps.append(step)

    steps = []
    train_embedder(tiny_encoder(), *tables(tmp_path), PROMPTS, stage(tmp_path), second)
    assert steps == [1, 2, 3, 4, 5, 6]
    train_embedder(tiny_encoder(), *tables(tmp_path), PROMPTS, stage(tmp_path), refuse)  # is at its end


TEACHER = {(f"q{i}", str(d)): float(d * 7 % 5) for i in range(12) for d in range(12, 36)}


@pytest.mark.parametrize(
    ("prompts", "teacher", "named"),
    [
        (PROMPTS | {"query": "検索: "}, TEACHER, r"prompts: \['クエリ: ', '文章: '\] -> \['検索: ', '文章: '\]"),
        (PROMPTS, TEACHER | {("q3", "15"): 9.0}, "teacher's scores: "),
    ],
)
def test_other_prompts_or_scores_do_not_continue_a_training(tmp_path, prompts, teacher, named):
    def train(prompts, teacher):
        data = tables(tmp_path, "distillation")
        return train_embedder(tiny_encoder(), *data, prompts, stage(tmp_path), lambda *_: None, teacher)

    train(PROMPTS, TEACHER)
    with pytest.raises(TrainingError, match=rf"was made by another recipe \({named}"):
        train(prompts, teacher)
