"""Scores of multi-vector models by MaxSim: of pairs, and of every query with every passage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from tqdm import tqdm

from ruri_kedro.models.max_sim import max_sim, max_sim_of
from ruri_kedro.models.token_vectors import Side, TokenVectors, encode_tokens

_BLOCK = 1024  # passages whose vectors are held at once: some 100 MB at 200 tokens and 128 dimensions
_QUERY_TOKENS = 16_384  # that meet them at once: 64 MiB of similarities


@dataclass(frozen=True)
class LateInteraction:
    """Scores of a multi-vector model."""

    model: MultiVectorEncoder
    chunk_tokens: int  # padded tokens of one forward pass
    prompts: Mapping[str, str] = field(default_factory=dict)  # by role, query or document; else the model's own
    precision: str = "float32"  # of forward passes

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """MaxSim of (query, passage) pairs, float32 (pairs,); each distinct text is encoded once."""
        texts = [list(dict.fromkeys(side)) for side in zip(*pairs, strict=True)]
        if not texts:
            return np.zeros(0, np.float32)
        numbers = [{text: number for number, text in enumerate(side)} for side in texts]
        queries, passages = (np.array([numbers[side][pair[side]] for pair in pairs]) for side in (0, 1))
        # The pairs of a query are a row of candidates, each at its place among them.
        order = np.argsort(queries, kind="stable")
        counts = np.bincount(queries)
        places = np.empty(len(pairs), np.int64)
        places[order] = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
        candidates = np.full((len(counts), counts.max()), -1, np.int64)
        candidates[queries, places] = passages
        asked, given = self.encode(texts[0], "query"), self.encode(texts[1], "document")
        scores = max_sim_of(*self._tensors(asked), *self._tensors(given), candidates)
        return scores.cpu().numpy()[queries, places]

    def mean_scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """`score` divided by the number of the query's vectors, float32 (pairs,); 0 for a query without one."""
        queries = list(dict.fromkeys(query for query, _ in pairs))
        lengths = dict(zip(queries, self.encode(queries, "query").lengths.tolist(), strict=True))
        counts = np.array([max(lengths[query], 1) for query, _ in pairs], dtype=np.float32)
        return self.score(pairs) / counts

    def search(self, queries: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        """MaxSim of every query with every passage, float32 (queries, passages)."""
        asked = self.encode(queries, "query")
        scores = np.empty((len(queries), len(passages)), dtype=np.float32)
        with tqdm(total=len(passages), desc="passages", unit="text", mininterval=1.0, disable=None) as bar:
            for start in range(0, len(passages), _BLOCK):
                block = self.encode(passages[start : start + _BLOCK], "document")
                scores[:, start : start + len(block.lengths)] = self.scores(asked, block)
                bar.update(len(block.lengths))
        return scores

    def encode(self, texts: Sequence[str], task: str) -> TokenVectors:
        """Vectors of the tokens of queries or documents, as `task` says."""
        side = Side.of(self.model, task)
        side = replace(side, prompt=self.prompts.get(task, side.prompt))
        return encode_tokens(self.model, texts, side, self.chunk_tokens, self.precision)

    def vectors(self, texts: Sequence[str], task: str) -> list[np.ndarray]:
        """The vectors of each text, (tokens, d) float32, as an index of token vectors takes them."""
        found = self.encode(texts, task)
        return np.split(found.vectors, np.cumsum(found.lengths)[:-1])

    @torch.inference_mode()
    def scores(self, queries: TokenVectors, documents: TokenVectors) -> np.ndarray:
        """MaxSim of texts that are encoded, float32 (queries, documents)."""
        given, parts = self._tensors(documents), []
        vectors, stops = torch.from_numpy(queries.vectors), np.cumsum(queries.lengths)
        rows = max(_QUERY_TOKENS // max(int(queries.lengths.max(initial=1)), 1), 1)
        for start in range(0, len(stops), rows):
            lengths = queries.lengths[start : start + rows]
            stop = int(stops[start + len(lengths) - 1])
            part = vectors[stop - int(lengths.sum()) : stop].to(self.model.device)
            parts.append(max_sim(part, lengths, *given).cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, len(documents.lengths)), np.float32)

    def _tensors(self, texts: TokenVectors) -> tuple[torch.Tensor, np.ndarray]:
        return torch.from_numpy(texts.vectors).to(self.model.device), texts.lengths
