"""What a model of each kind does in the service: encode texts, score pairs, build and search an index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ruri_kedro.models.saved import SavedModel
from ruri_kedro.search.multi_vector.settings import MultiVectorSettings
from ruri_kedro.service.indexes import Search, dense_index, token_index
from ruri_kedro.service.settings import ServiceSettings
from ruri_kedro.service.stored_documents import Documents
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.store import key_of
from ruri_kedro.text.prompts import with_prompt

QUERY, DOCUMENT = "query", "document"  # roles of texts
_PROMPTS = {QUERY: ("query",), DOCUMENT: ("document", "passage", "corpus")}  # names under which models have them

Item = tuple[str, str]  # role, or name of a prompt, or "" for none; text
Encoded = tuple[np.ndarray, int]  # a vector (d,), or token vectors (tokens, d); tokens that were read


@dataclass(frozen=True)
class Embedder:
    """A SentenceTransformer: a vector for a text."""

    saved: SavedModel
    settings: ServiceSettings
    system: ClassVar[str] = "dense"

    @cached_property
    def model(self) -> Any:
        """Loaded when it is first asked for."""
        return self.saved.model.eval()

    @property
    def prompts(self) -> Mapping[str, str]:
        """By name, as the model was saved."""
        return self.model.prompts

    @property
    def max_length(self) -> int:
        """Tokens of a text; longer ones are cut."""
        return min(self.settings.max_length, self.model.max_seq_length or self.settings.max_length)

    def lengths(self, items: Sequence[Item]) -> list[int]:
        """Tokens of texts that are not cut."""
        return self._tokens(items, None).lengths.tolist()

    def encode(self, items: Sequence[Item]) -> list[Encoded]:
        """Vectors of length 1, float32."""
        from ruri_kedro.models.forward import encode_rows
        from ruri_kedro.models.tokens import forward_chunks

        tokens, budget = self._tokens(items, self.max_length), self.settings.chunk_tokens
        vectors: dict[int, np.ndarray] = {}
        for chunk in forward_chunks(tokens.lengths, budget, self.model.device):
            rows = [tokens.row(number) for number in chunk]
            vectors.update(zip(chunk.tolist(), encode_rows(self.model, rows, budget), strict=True))
        return [(vectors[number], length) for number, length in enumerate(tokens.lengths.tolist())]

    def _tokens(self, items: Sequence[Item], length: int | None) -> Any:
        from ruri_kedro.models.tokens import tokenize

        texts = [with_prompt(prompt_of(self.prompts, role), text) for role, text in items]
        return tokenize(self.model.tokenizer, texts, length)

    def index(self, documents: Documents, root: Path, tokens: MultiVectorSettings) -> Search:
        """A search of the documents by vectors that `encode` made of queries."""
        from ruri_kedro.models import forward

        prompt = prompt_of(self.prompts, DOCUMENT)
        code = behaviour_digest(forward.encode_rows)
        key = key_of(model=self.saved.revision, prompt=prompt, max_length=self.max_length, code=code)

        def encode(texts: list[str]) -> np.ndarray:
            return np.stack([vector for vector, _ in self.encode([(DOCUMENT, text) for text in texts])])

        return dense_index(documents, key, encode, root, self.settings.nearest, self.settings.threads)


@dataclass(frozen=True)
class TokenEmbedder:
    """A MultiVectorEncoder: a vector for each token, compared by MaxSim."""

    saved: SavedModel
    settings: ServiceSettings
    system: ClassVar[str] = "late_interaction"

    @cached_property
    def late(self) -> Any:
        """The model with its scores."""
        from ruri_kedro.models.late_interaction import LateInteraction

        return LateInteraction(self.saved.multi_vector.eval(), self.settings.chunk_tokens)

    def encode(self, items: Sequence[Item]) -> list[Encoded]:
        """Token vectors of queries and documents, float32 (tokens, d); the model's own lengths hold."""
        found: dict[int, Encoded] = {}
        for role in dict.fromkeys(role for role, _ in items):
            numbers = [number for number, (other, _) in enumerate(items) if other == role]
            vectors = self.late.encode([items[number][1] for number in numbers], role)
            starts = np.cumsum(vectors.lengths)[:-1]
            for number, matrix in zip(numbers, np.split(vectors.vectors, starts), strict=True):
                found[number] = (matrix, len(matrix))
        return [found[number] for number in range(len(items))]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """MaxSim of (query, text) pairs."""
        return self.late.score(pairs).tolist()

    def index(self, documents: Documents, root: Path, tokens: MultiVectorSettings) -> Search:
        """As of `Embedder`."""
        from ruri_kedro.models import token_vectors

        key = key_of(model=self.saved.revision, code=behaviour_digest(token_vectors.encode_token_rows))

        def encode(texts: list[str]) -> list[np.ndarray]:
            return [matrix for matrix, _ in self.encode([(DOCUMENT, text) for text in texts])]

        return token_index(documents, key, encode, tokens)

    def similarities(self, query: str, text: str) -> dict[str, Any]:
        """Cosines of the tokens of a query with those of a text: tokens of both, and a row for each of the query's."""
        (asked, asked_tokens), (given, given_tokens) = (
            self._with_tokens(one, role) for one, role in ((query, QUERY), (text, DOCUMENT))
        )
        return {"query": asked_tokens, "document": given_tokens, "similarities": np.round(asked @ given.T, 3).tolist()}

    def _with_tokens(self, text: str, role: str) -> tuple[np.ndarray, list[str]]:
        """The vectors of a text's tokens (tokens, d), and the tokens as text."""
        import torch

        from ruri_kedro.models.token_vectors import Side
        from ruri_kedro.models.tokens import tokenize

        model = self.late.model
        side = Side.of(model, role)
        row = tokenize(model.tokenizer, [with_prompt(side.prompt, text)], side.length).row(0)
        features = side.features(model, [row], model.device)
        ids = features["input_ids"][0]
        with torch.inference_mode():
            found = model(features, task=side.task)
        there = found["attention_mask"][0].bool()
        pieces = model.tokenizer.convert_ids_to_tokens(ids[: len(there)][there].tolist())
        return found["token_embeddings"][0][there].float().cpu().numpy(), [piece.replace("▁", " ") for piece in pieces]


@dataclass(frozen=True)
class PairScorer:
    """A CrossEncoder: a score for a query and a text."""

    saved: SavedModel
    settings: ServiceSettings
    system: ClassVar[str] = "reranked"

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Logits of (query, text) pairs."""
        from ruri_kedro.models.forward import score_rows
        from ruri_kedro.models.pairs import PairLayout
        from ruri_kedro.models.tokens import forward_chunks, tokenize

        model, budget = self.saved.cross_encoder.eval(), self.settings.chunk_tokens
        length = min(self.settings.max_length, model.max_length or self.settings.max_length)
        place = {text: number for number, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair))}
        tokens = tokenize(model.tokenizer, list(place), None, special=False)
        queries, texts = (np.array([place[pair[side]] for pair in pairs], dtype=np.int64) for side in (0, 1))
        lengths = PairLayout.of(model.tokenizer).lengths(tokens.lengths[queries], tokens.lengths[texts], length)
        scores = np.empty(len(pairs), dtype=np.float32)
        for chunk in forward_chunks(lengths, budget, model.device):
            scores[chunk] = score_rows(model, tokens, queries[chunk], texts[chunk], length, budget)
        return scores.tolist()


def prompt_of(prompts: Mapping[str, str], role: str) -> str:
    """What stands before the texts of a role, or of a prompt of that name; "" where the model has none."""
    return next((prompts[name] for name in _PROMPTS.get(role, (role,)) if prompts.get(name)), "")
