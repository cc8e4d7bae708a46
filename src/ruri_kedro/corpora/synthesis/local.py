"""Models in this process: one that writes, one that scores. Loaded from safetensors; no code of a checkpoint is run."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from ruri_kedro.corpora.synthesis.chat import Answer, Refused, Request
from ruri_kedro.corpora.synthesis.settings import ModelSettings, ScoreSettings
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.checkpoint import checkpoint_folder
from ruri_kedro.models.tokens import chunk_by_tokens


class LocalModel:
    """A causal language model. Asks are answered one at a time; for many of them a server is much faster.

    Of the options `max_tokens` bounds the answer, a `temperature` of 0 (the default) takes the likeliest token, and
    the others go to `generate` as they are. The same request gives the same answer on the same machine.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._tokenizer, self._model = _load(AutoModelForCausalLM, settings)
        self._generation = _generation(settings, self._tokenizer)
        self._lock = threading.Lock()

    @torch.inference_mode()
    def complete(self, request: Request) -> Answer:
        """The answer. Raises Refused where prompt and answer do not fit the model's positions."""
        ids = _prompt_ids(self._tokenizer, request)
        longest = getattr(self._model.config, "max_position_embeddings", None)
        room = self._generation["max_new_tokens"]
        if longest and len(ids) + room > longest:
            raise Refused(f"{len(ids)} tokens of prompt and {room} of answer are more than the model's {longest}")
        inputs = torch.tensor([ids], device=self._model.device)
        with self._lock:
            torch.manual_seed(int(request.key[:12], 16))
            output = self._model.generate(inputs, attention_mask=torch.ones_like(inputs), **self._generation)
        written = output[0, len(ids) :].tolist()
        ends = self._model.generation_config.eos_token_id
        ended = bool(written) and written[-1] in (ends if isinstance(ends, list) else [ends])
        text = self._tokenizer.decode(written, skip_special_tokens=True)
        return Answer(text, "stop" if ended or len(written) < room else "length", len(ids), len(written))


class RewardModel:
    """A sequence classification checkpoint that scores an answer to a prompt."""

    def __init__(self, settings: ScoreSettings) -> None:
        self._settings = settings
        self._tokenizer, self._model = _load(AutoModelForSequenceClassification, settings)
        self._output = _output(settings, self._model.config)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        # Without it, models that read the last token find it in batches of one only.
        self._model.config.pad_token_id = self._tokenizer.pad_token_id

    @torch.inference_mode()
    def scores(self, exchanges: Sequence[tuple[Request, str]]) -> np.ndarray:
        """Logits of (prompt, answer), float32 (exchanges,).

        A checkpoint with a chat template reads a conversation, another one a pair of texts. What is longer than
        `max_length` tokens is cut.
        """
        encoded = [self._encode(request, answer) for request, answer in exchanges]
        lengths = np.array([len(row["input_ids"]) for row in encoded], dtype=np.int64)
        scores = np.empty(len(encoded), dtype=np.float32)
        with tqdm(total=len(encoded), desc="reward", unit="row", disable=None) as bar:
            for chunk in chunk_by_tokens(lengths, self._settings.chunk_tokens):
                features = self._tokenizer.pad([encoded[i] for i in chunk], return_tensors="pt")
                logits = self._model(**features.to(self._model.device)).logits
                scores[chunk] = logits[:, self._output].float().cpu().numpy()
                bar.update(len(chunk))
        return scores

    def _encode(self, request: Request, answer: str) -> dict[str, list[int]]:
        cut = {"truncation": True, "max_length": self._settings.max_length}
        if self._tokenizer.chat_template:
            talk = [*request.messages, {"role": "assistant", "content": answer}]
            text = self._tokenizer.apply_chat_template(talk, tokenize=False)
            return dict(self._tokenizer(text, add_special_tokens=False, **cut))
        return dict(self._tokenizer(_joined(request), answer, **cut))


def _load(kind: type, settings: ModelSettings | ScoreSettings) -> tuple[Any, Any]:
    """(tokenizer, model) of a checkpoint, on its device; RecipeError as `checkpoint_folder`."""
    with checkpoint_folder(settings.name, settings.revision) as folder:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = kind.from_pretrained(folder, use_safetensors=True, dtype="auto", trust_remote_code=False)
    has_gpu = torch.cuda.is_available()
    device = ("cuda" if has_gpu else "cpu") if settings.device == "auto" else settings.device
    return tokenizer, model.to(device).eval()


def _generation(settings: ModelSettings, tokenizer: Any) -> dict[str, Any]:
    """Arguments of `generate`."""
    given = {"max_new_tokens": settings.max_tokens, "do_sample": settings.options.get("temperature", 0) > 0}
    left_out = {"max_tokens", "max_completion_tokens"}
    if not given["do_sample"]:
        left_out |= {"temperature", "top_p", "top_k"}
    own = {name: value for name, value in settings.options.items() if name not in left_out}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return {**given, "pad_token_id": pad, **own}


def _prompt_ids(tokenizer: Any, request: Request) -> list[int]:
    """Tokens of the messages as the checkpoint's chat template puts them; without one, the bare texts."""
    if not tokenizer.chat_template:
        return tokenizer(_joined(request))["input_ids"]
    text = tokenizer.apply_chat_template(list(request.messages), add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _joined(request: Request) -> str:
    return "\n\n".join(message["content"] for message in request.messages)


def _output(settings: ScoreSettings, config: Any) -> int:
    """Number of the logit that is the score."""
    names = {str(name): number for name, number in config.label2id.items()}
    if settings.output is None and config.num_labels == 1:
        return 0
    if settings.output not in names:
        raise RecipeError(
            f"reward model '{settings.name}': score.output '{settings.output}' is none of its outputs. It has: "
            f"{', '.join(names)}."
        )
    return names[settings.output]
