"""Masked language modelling: what is hidden, the loss, the head of a checkpoint, and a continuation after a kill."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bases import save
from hypothesis import given
from hypothesis import strategies as st
from tiny import BASE_MODEL, TEXTS, tiny_encoder
from tiny_fit import WATCHED
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from train_tables import ADAPTATION, examples_table, tables
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.base import load_encoder
from ruri_kedro.models.building import base_encoder
from ruri_kedro.models.masked import guesses, masked_model, word_starts
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.models.tokens import TokenRows, pad
from ruri_kedro.recipe.parse import parse
from ruri_kedro.tables import SCHEMAS, Part, write_table
from ruri_kedro.training.adaptation import Blocks, masked_backward, train_adaptation
from ruri_kedro.training.masking import Masking, packed
from ruri_kedro.training.plan import Batch
from ruri_kedro.training.run import Stage
from ruri_kedro.training.settings import AdaptationSettings, HeldOutSettings

WORDS = ["<s>", "</s>", "<pad>", "<unk>", "<mask>", "▁дом", "а", "ми", "▁в", "▁и", "東", "京", "▁", "の", "駅"]


def bert_folder(folder, kind=BertForMaskedLM, words=WORDS):
    """A BERT with a unigram vocabulary."""
    tokenizer = Tokenizer(models.Unigram([(word, -float(len(words) - n)) for n, word in enumerate(words)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    named = {
        "cls_token": "<s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    folder.mkdir(parents=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **named).save_pretrained(folder)
    config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=24, max_position_embeddings=64, pad_token_id=2)  # fmt: skip
    return save(kind, config, folder)


def base_of(folder, **changed):
    return parse(BaseModelSettings, BASE_MODEL | {"name": str(folder), **changed}, "base_model")


def stage(folder, held_out=None, **changed):
    measured = held_out and parse(HeldOutSettings, held_out, "run.held_out")
    settings = parse(AdaptationSettings, ADAPTATION | changed, "adaptation")
    return Stage("adaptation", settings, 1, "cpu", folder / "checkpoints", WATCHED, held_out=measured)


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 20))
def test_blocks_hold_the_texts_in_their_order_without_padding(lengths, length):
    rows = [np.arange(n, dtype=np.int32) + 100 * k for k, n in enumerate(lengths)]
    order = np.random.default_rng(0).permutation(len(rows))
    blocks = packed(TokenRows.of(rows), order, length)
    stream = np.concatenate([rows[k] for k in order]) if rows else np.zeros(0)
    whole = np.concatenate(blocks) if blocks else np.zeros(0)
    assert whole.tolist() == stream[: len(whole)].tolist()
    assert len({len(block) for block in blocks}) <= 1 and len(stream) - len(whole) < length


@given(
    st.lists(st.integers(0, 14), min_size=1, max_size=60), st.floats(0.05, 0.6), st.integers(1, 4), st.integers(0, 9)
)
def test_words_are_hidden_whole_and_special_tokens_never(ids, share, longest, seed):
    special = np.arange(15) < 5
    starts = np.array([word.startswith("▁") for word in WORDS]) | special
    block = np.array(ids, np.int32)
    masking = Masking(share, longest, 4, starts, special)
    seen, places = masking.hide(block, np.random.default_rng(seed))
    same, again = masking.hide(block, np.random.default_rng(seed))
    assert seen.tolist() == same.tolist() and places.tolist() == again.tolist()
    assert not special[block[places]].any() and (np.diff(places) > 0).all()
    kept = np.setdiff1d(np.arange(len(block)), places)
    assert (seen[kept] == block[kept]).all()
    content = int((~special[block]).sum())
    assert len(places) <= max(round(share * content), 1) and (len(places) > 0) == (content > 0)
    for word in masking._words(block):
        hidden = np.isin(word, places)
        assert hidden.all() or not hidden.any() or len(places) == 1


def test_eighty_percent_become_the_mask_ten_another_token():
    special = np.arange(1000) < 5
    masking = Masking(0.15, 1, 4, np.ones(1000, bool), special)
    block = np.full(40_000, 7, np.int32)
    seen, places = masking.hide(block, np.random.default_rng(0))
    assert len(places) == 6000
    assert abs((seen[places] == 4).mean() - 0.8) < 0.02 and abs((seen[places] == 7).mean() - 0.1) < 0.02


def test_the_beginnings_of_words_are_those_that_the_tokenizer_marks(tmp_path):
    pieces = load_encoder(bert_folder(tmp_path / "base")).tokenizer
    assert [w for w, starts in zip(WORDS, word_starts(pieces), strict=True) if not starts] == [
        "а", "ми", "東", "京", "の", "駅",
    ]  # fmt: skip
    assert word_starts(tiny_encoder().tokenizer).all(), "a tokenizer that marks no words"


def test_the_loss_is_the_mean_over_the_hidden_tokens_of_the_whole_batch(tmp_path):
    """However it is cut into chunks, and as transformers itself computes it."""
    folder = bert_folder(tmp_path / "base")
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 15, 12).astype(np.int32) for _ in range(6)]
    data = Blocks(rows, np.zeros(6, np.int64), ["ru"], ["masked_language_modelling"])
    found = []
    for chunk_tokens in (16, 1000):
        encoder = load_encoder(folder)
        model = masked_model(encoder, base_of(folder), 0)
        masking = Masking.of(encoder.tokenizer, 0.3, 1)
        torch.manual_seed(3)
        model.eval()
        seen = masked_backward(model, data, masking, chunk_tokens, "float32")(Batch(-1, np.arange(6)))
        found.append((seen.loss, model.bert.embeddings.word_embeddings.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-7)
    torch.manual_seed(3)
    seed = int(torch.randint(2**62, ()))
    hidden = [masking.hide(row, np.random.default_rng([seed, n])) for n, row in enumerate(rows)]
    labels = torch.full((6, 12), -100)
    for n, (_, places) in enumerate(hidden):
        labels[n, places] = torch.as_tensor(rows[n][places], dtype=torch.int64)
    own = BertForMaskedLM.from_pretrained(folder).eval()
    expected = own(input_ids=torch.tensor(np.stack([ids for ids, _ in hidden]), dtype=torch.int64), labels=labels).loss
    assert found[0][0] == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_head_sees_the_wanted_places_only(tmp_path):
    folder = bert_folder(tmp_path / "base")
    model = masked_model(load_encoder(folder), base_of(folder), 0).eval()
    features = pad([np.arange(5, 12), np.arange(6, 10)], 2, None)
    wanted = torch.zeros(features["input_ids"].shape, dtype=torch.bool)
    wanted[0, 2] = wanted[1, 3] = True
    whole = model(**features).logits
    torch.testing.assert_close(guesses(model, features, wanted), whole[wanted])
    torch.testing.assert_close(model(**features).logits, whole)


def test_the_head_is_that_of_the_checkpoint_with_rows_for_new_tokens(tmp_path):
    folder = bert_folder(tmp_path / "base")
    bias = torch.arange(len(WORDS), dtype=torch.float32)
    own = BertForMaskedLM.from_pretrained(folder)
    own.cls.predictions.bias.data.copy_(bias)
    own.save_pretrained(folder)
    other = bert_folder(tmp_path / "other", words=[*WORDS[:5], "▁домами", "ами", *WORDS[5:]])
    added = {"name": str(other), "revision": None, "scripts": ["Cyrillic"], "initial": "mean"}
    base = base_of(folder, add_vocabulary=added)
    encoder = base_encoder(lambda: TEXTS, base, {}, 0)
    model = masked_model(encoder, base, 0)
    head = model.cls.predictions
    assert torch.equal(head.transform.dense.weight, own.cls.predictions.transform.dense.weight)
    assert head.decoder.weight is encoder[0].auto_model.get_input_embeddings().weight
    assert torch.equal(head.bias[: len(WORDS)], bias) and len(head.bias) == len(WORDS) + 2
    assert float(head.bias[encoder.tokenizer.get_vocab()["ами"]]) == pytest.approx((6 + 7) / 2)


def test_a_model_without_a_head_gets_a_new_one_of_the_seed(tmp_path, caplog):
    folder = bert_folder(tmp_path / "base", BertModel)
    caplog.set_level("INFO")
    one, same = (masked_model(load_encoder(folder), base_of(folder), 7).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert "has no head for masked language modelling" in caplog.text


class Killed(Exception):
    pass


def adapted(folder, kill_at=None, dropout=0.1, **changed):
    examples, passages = tables(folder, "masked_language_modelling")
    seen = []

    def on_step(step, metrics):
        seen.append(metrics)
        if step == kill_at:
            raise Killed

    model = train_adaptation(tiny_encoder(dropout), examples, passages, stage(folder, **changed), on_step, BASE_MODEL)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, seen


@pytest.mark.parametrize("kill_at", [1, 3, 6])
def test_a_killed_training_ends_with_the_same_weights(tmp_path, kill_at):
    whole, losses = adapted(tmp_path / "whole", epochs=3)
    assert len(losses) > 6
    with pytest.raises(Killed):
        adapted(tmp_path / "killed", kill_at, epochs=3)
    resumed, rest = adapted(tmp_path / "killed", epochs=3)
    assert len(rest) <= len(losses) and all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert [metrics["loss"] for metrics in rest] == [metrics["loss"] for metrics in losses][-len(rest) :]
    assert all(metrics["padding_share"] == 0 for metrics in losses), "packed"


def test_texts_are_learnt_and_held_out_ones_tell_the_perplexity(tmp_path):
    rows = list(tables(tmp_path / "all", "masked_language_modelling")[0].iter_rows())
    for row in rows[::3]:
        row["split"] = "validation"
    examples = examples_table(tmp_path / "some", {"faq": rows})
    seen = []
    train_adaptation(
        tiny_encoder(), examples, tables(tmp_path / "all")[1],
        stage(tmp_path, {"steps": 5, "rows": 8}, epochs=30, learning_rate=5e-3),
        lambda step, metrics: seen.append(metrics), BASE_MODEL,
    )  # fmt: skip
    measured = [metrics["held_out/perplexity"] for metrics in seen if "held_out/perplexity" in metrics]
    assert len(measured) >= 2 and min(measured) < 0.9 * measured[0] < 300
    assert seen[-1]["loss"] < 0.8 * seen[0]["loss"]


def test_of_added_tokens_alone_all_other_rows_stay_as_they_were(tmp_path):
    """Also after a kill."""
    folder = bert_folder(tmp_path / "base")
    other = bert_folder(tmp_path / "other", words=[*WORDS[:5], "▁домами", "ами", *WORDS[5:]])
    added = {"name": str(other), "revision": None, "scripts": ["Cyrillic"], "initial": "mean"}
    block = BASE_MODEL | {"name": str(folder), "add_vocabulary": added}
    examples, _ = tables(tmp_path, "masked_language_modelling")
    texts = [{"docid": str(i), "source": "faq", "title": "", "section": "", "text": "в домами и ами 東京の駅"}
             for i in range(36)]  # fmt: skip
    passages = write_table(tmp_path / "russian", SCHEMAS["passages"], {"faq": Part("k", lambda: iter([texts]))})
    before = base_encoder(lambda: TEXTS, base_of(folder, add_vocabulary=added), {}, 0)
    before.save_pretrained(str(tmp_path / "made"))
    found = []
    for kill_at in (None, 3):
        place = stage(tmp_path / str(kill_at), train="added", epochs=40, checkpoint_steps=1)

        def on_step(step, metrics, kill_at=kill_at):
            if step == kill_at:
                raise Killed

        def trained(on_step, place=place):
            model = load_encoder(tmp_path / "made")
            return train_adaptation(model, examples, passages, place, on_step, block).state_dict()

        if kill_at:
            with pytest.raises(Killed):
                trained(on_step)
        found.append(trained(lambda *_: None))
    old = before.state_dict()
    table = next(name for name in old if "word_embeddings" in name)
    kept = [name for name in old if name != table]
    for after in found:
        assert all(torch.equal(after[name], old[name]) for name in kept)
        assert torch.equal(after[table][: len(WORDS)], old[table][: len(WORDS)])
        assert not torch.equal(after[table][len(WORDS) :], old[table][len(WORDS) :])
    assert torch.equal(found[0][table], found[1][table])
    with pytest.raises(RecipeError, match=r"adaptation\.train: added, but base_model\.add_vocabulary is null"):
        adapted(tmp_path / "none", train="added")


def test_a_frozen_body_keeps_its_weights(tmp_path):
    before = tiny_encoder().state_dict()
    after, _ = adapted(tmp_path, dropout=0.0, train="embeddings")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {next(name for name in before if "tok_embeddings" in name)}
    with pytest.raises(RecipeError, match="train: embeddings, but trained_layers: 1 trains no tokens"):
        adapted(tmp_path / "none", train="embeddings", trained_layers=1)
    assert F.cosine_similarity(*(s[next(iter(changed))].flatten() for s in (before, after)), dim=0) > 0.5
