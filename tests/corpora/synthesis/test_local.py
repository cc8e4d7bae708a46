"""Models in this process: tiny ones with random weights, whose words are garbage but must break nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_server import completion
from cut_project import read
from synthesis_parameters import INFERENCE, QUESTIONS, model_settings, parameters
from tiny import TEXTS
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    set_seed,
)

from ruri_kedro.corpora.synthesis.build import build_set
from ruri_kedro.corpora.synthesis.chat import Answer, Prompt, Refused, Request
from ruri_kedro.corpora.synthesis.local import LocalModel, RewardModel
from ruri_kedro.corpora.synthesis.session import Session
from ruri_kedro.corpora.synthesis.settings import ScoreSettings, parse_settings
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.tokenizer import train_tokenizer

TEMPLATE = (
    "{% for m in messages %}[CLS]{{ m['role'] }}:{{ m['content'] }}[SEP]{% endfor %}"
    "{% if add_generation_prompt %}[CLS]assistant:{% endif %}"
)


def checkpoint(folder: Path, kind=LlamaForCausalLM, template: str | None = TEMPLATE, **given) -> str:
    tokenizer = train_tokenizer(TEXTS, 300, 4)
    tokenizer.chat_template = template
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sep = tokenizer.sep_token_id
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, eos_token_id=sep, **{**size, **given})
    set_seed(0)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> str:
    return checkpoint(tmp_path_factory.mktemp("writer"))


def request(text: str, key: str = "0" * 24) -> Request:
    made = Prompt("$text").request({"text": text}, "m", {})
    return Request(key, made.messages)


def local(name: str, **options) -> LocalModel:
    return LocalModel(model_settings("local", name, {"max_tokens": 8, **options}, device="cpu"))


def test_the_likeliest_tokens_are_those_of_transformers(writer):
    answer = local(writer).complete(request("東京の駅は"))
    tokenizer = AutoTokenizer.from_pretrained(writer)
    ids = tokenizer("[CLS]user:東京の駅は[SEP][CLS]assistant:", add_special_tokens=False, return_tensors="pt")
    model = LlamaForCausalLM.from_pretrained(writer)
    expected = model.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
    text = tokenizer.decode(expected, skip_special_tokens=True)
    assert answer == Answer(text, answer.finish, ids["input_ids"].shape[1], len(expected))
    assert answer.finish == ("length" if len(expected) == 8 and expected[-1] != tokenizer.sep_token_id else "stop")


def test_an_answer_that_ends_itself(writer):
    model = local(writer)
    first = model._tokenizer(model.complete(request("山")).text, add_special_tokens=False)["input_ids"][0]
    model._model.generation_config.eos_token_id = [first]
    answer = model.complete(request("山"))
    assert answer.finish == "stop" and answer.completion_tokens == 1


def test_drawn_answers_depend_on_the_request_only(writer):
    model = local(writer, temperature=1.0, top_p=0.9)
    first, other, again = (model.complete(request("東京の駅は", key * 12)) for key in ("0a", "0b", "0a"))
    assert first == again != other


def test_a_checkpoint_without_a_chat_template_reads_the_bare_texts(tmp_path):
    name = checkpoint(tmp_path, template=None)
    ids = AutoTokenizer.from_pretrained(name)("東京の駅は")["input_ids"]
    assert local(name).complete(request("東京の駅は")).prompt_tokens == len(ids)


def test_what_does_not_fit_is_refused(writer):
    with pytest.raises(Refused, match=r"tokens of prompt and 8 of answer are more than the model's 512"):
        local(writer).complete(request("東京の駅は" * 300))


@pytest.mark.parametrize("template", [TEMPLATE, None])
def test_rewards_are_the_logits_of_the_checkpoint(tmp_path, template):
    name = checkpoint(tmp_path, LlamaForSequenceClassification, template, num_labels=2)
    settings = ScoreSettings("reward", 0.2, name=name, output="LABEL_1", chunk_tokens=64, device="cpu")
    texts = [("東京の駅は", "1901年に市が建てた。"), ("京都", "県"), ("札幌の図書館は寺の住職が直した。", "那覇")]
    scores = RewardModel(settings).scores([(request(text), answer) for text, answer in texts])
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(name), AutoTokenizer.from_pretrained(name)
    model.config.pad_token_id = tokenizer.pad_token_id
    for (text, answer), score in zip(texts, scores, strict=True):
        talk = f"[CLS]user:{text}[SEP][CLS]assistant:{answer}[SEP]"
        given = (text, answer) if template is None else (talk,)
        ids = tokenizer(*given, add_special_tokens=template is None, return_tensors="pt")
        with torch.no_grad():
            assert score == pytest.approx(model(**ids).logits[0, 1].item(), abs=1e-5)
    assert scores.dtype == np.float32


def test_a_reward_model_with_several_outputs_needs_a_name(tmp_path):
    name = checkpoint(tmp_path, LlamaForSequenceClassification, num_labels=2)
    with pytest.raises(RecipeError, match=r"score\.output 'None' is none of its outputs\. It has: LABEL_0, LABEL_1"):
        RewardModel(ScoreSettings("reward", 0.2, name=name, device="cpu"))


def test_garbage_is_rejected_and_kept(writer, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS), "utf-8")
    source = {"path": "rows.jsonl", "shape": "rows"}
    given = parameters(
        tmp_path,
        model={"backend": "local", "name": writer, "device": "cpu", "options": {"max_tokens": 8, "temperature": 0.7}},
        sets={
            QUESTIONS: {"count": 0},
            INFERENCE: {"source": source, "count": 6, "min_chars": 5, "prompt": {"user": "$text", "system": ""}},
        },
    )
    settings, sets = parse_settings(given)
    build_set(sets[0], Session(settings), tmp_path, tmp_path / INFERENCE)
    reasons = {row["reason"] for row in read(tmp_path / INFERENCE / "rejects.jsonl.gz")}
    report = json.loads((tmp_path / INFERENCE / "report.json").read_text("utf-8"))
    assert reasons <= {"truncated", "not_json", "empty"} and report["rows"] == 0
    assert sum(report["rejects"].values()) == report["excerpts"] == report["tokens"]["requests"] == 6


def test_a_reward_model_chooses_what_is_dropped(server, tmp_path):
    reward = checkpoint(tmp_path / "reward", LlamaForSequenceClassification, num_labels=1)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS), "utf-8")

    def reply(prompt, times):
        return completion(json.dumps({"contradiction": f"{prompt}のは嘘だ。", "entailment": f"{prompt}そうだ。"}))

    server.reply = reply
    score = {"by": "reward", "name": reward, "drop": 0.25, "prompt": None, "device": "cpu"}
    row = {"source": {"path": "rows.jsonl", "shape": "rows"}, "count": 8, "min_chars": 5, "score": score}
    prompt = {"user": "$text", "system": ""}
    given = parameters(tmp_path, server.url, sets={QUESTIONS: {"count": 0}, INFERENCE: {**row, "prompt": prompt}})
    settings, sets = parse_settings(given)
    build_set(sets[0], Session(settings), tmp_path, tmp_path / INFERENCE)
    kept, dropped = (
        {row["id"]: row["score"] for row in read(tmp_path / INFERENCE / f"{name}.jsonl.gz")}
        for name in ("rows", "rejects")
    )
    assert len(kept) == 6 and len(dropped) == 2 and max(dropped.values()) <= min(kept.values())
    assert len(set(kept.values())) > 1 and len(server.asked) == 8


def test_a_score_that_is_no_number_is_rejected(server, tmp_path, monkeypatch):
    monkeypatch.setattr(RewardModel, "__init__", lambda self, settings: None)
    monkeypatch.setattr(RewardModel, "scores", lambda self, exchanges: np.array([np.nan, 1.0, 2.0, -np.inf]))
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS), "utf-8")
    server.reply = lambda prompt, times: completion('{"contradiction": "それは嘘だ。", "entailment": "そうだ。"}')
    score = {"by": "reward", "name": str(tmp_path), "drop": 0.5, "prompt": None}
    row = {"source": {"path": "rows.jsonl", "shape": "rows"}, "count": 4, "min_chars": 5, "score": score}
    settings, sets = parse_settings(parameters(tmp_path, server.url, sets={QUESTIONS: {"count": 0}, INFERENCE: row}))
    build_set(sets[0], Session(settings), tmp_path, tmp_path / "out")
    assert [row["score"] for row in read(tmp_path / "out/rows.jsonl.gz")] == [2.0, 2.0]
    reasons = [row["reason"] for row in read(tmp_path / "out/rejects.jsonl.gz")]
    assert sorted(reasons) == ["low_score", "no_score", "no_score"]
