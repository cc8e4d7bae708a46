"""Late interaction: a vector for each token; MaxSim compares a query's with a passage's (ColBERT, arXiv 2004.12832).

The models are sentence-transformers' MultiVectorEncoder, which also reads the folders of PyLate and of Stanford's
ColBERT (JaColBERT). Prompts, lengths and the tokens that are left out are the model's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder
from tqdm import tqdm

from ruri_kedro.models.checkpoint import checkpoint_folder, read_config
from ruri_kedro.models.foreign_code import open_model

_BLOCK = 1024  # passages whose vectors are held at once: some 100 MB at 200 tokens and 128 dimensions


def is_multi_vector(reference: str, revision: str | None = None) -> bool:
    """Whether a model is of late interaction, by what sentence-transformers, PyLate or Stanford's code wrote of it."""
    names = ("config.json", "config_sentence_transformers.json")
    config, own = (read_config(reference, name, revision) or {} for name in names)
    # PyLate's first versions named no type, but the marks in front of queries and documents.
    marked = own.get("model_type") in ("MultiVectorEncoder", "ColBERT") or "query_prefix" in own
    return marked or "HF_ColBERT" in (config.get("architectures") or [])


def load_multi_vector(reference: str | Path, revision: str | None = None) -> MultiVectorEncoder:
    """A late interaction model from a folder, or from the hub at a pinned revision; RecipeError as `load_encoder`."""
    with checkpoint_folder(reference, revision) as folder:
        return open_model(MultiVectorEncoder, folder, device="cpu", model_kwargs={"dtype": torch.float32})


@dataclass(frozen=True)
class LateInteraction:
    """Scores of a late interaction model; `chunk_tokens` bounds the padded tokens of one forward pass."""

    model: MultiVectorEncoder
    chunk_tokens: int

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """MaxSim of (query, passage) pairs, float32 (pairs,); each distinct text is encoded once."""
        sides = []
        for encode, texts in zip((self._queries, self._passages), zip(*pairs, strict=True), strict=True):
            distinct = list(dict.fromkeys(texts))
            vectors = dict(zip(distinct, encode(distinct), strict=True))
            sides.append([vectors[text] for text in texts])
        return self.model.similarity_pairwise(*sides, device=self.model.device).cpu().numpy()

    def search(self, queries: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        """MaxSim of every query with every passage, float32 (queries, passages)."""
        asked = self._queries(queries)
        scores = np.empty((len(queries), len(passages)), dtype=np.float32)
        with tqdm(total=len(passages), desc="passages", unit="text", mininterval=1.0, disable=None) as bar:
            for start in range(0, len(passages), _BLOCK):
                block = self._passages(passages[start : start + _BLOCK])
                found = self.model.similarity(asked, block, device=self.model.device)
                scores[:, start : start + len(block)] = found.cpu().numpy()
                bar.update(len(block))
        return scores

    def _queries(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.model.encode_query(list(texts), **self._options("query_length"))

    def _passages(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.model.encode_document(list(texts), **self._options("document_length"))

    def _options(self, limit: str) -> dict:
        longest = getattr(self.model[0], limit, None) or self.model.max_seq_length or self.chunk_tokens
        rows = max(1, self.chunk_tokens // longest)
        return {"batch_size": rows, "convert_to_numpy": True, "show_progress_bar": False}
