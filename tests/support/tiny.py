"""Tiny models for tests, built in a moment."""

from ruri_kedro.models.base import build_cross_encoder, build_encoder
from ruri_kedro.models.settings import TinySettings

PROMPTS = {"query": "クエリ: ", "document": "文章: "}
TEXTS = [
    f"{place}の{thing}は{year}年に{who}が{what}。"
    for place in ("東京", "京都", "札幌", "那覇")
    for thing in ("図書館", "美術館", "駅")
    for year, who, what in ((1901, "市", "建てた"), (1955, "県", "移した"), (1987, "寺の住職", "直した"))
]


# Parameters `base_model.tiny`.
TINY = {"vocab_size": 300, "max_piece_chars": 4, "hidden_size": 32, "intermediate_size": 48, "layers": 2, "heads": 2,
        "max_length": 64, "dropout": 0.0, "initializer_range": 0.02}  # fmt: skip

# Parameters `base_model` that build the tiny model.
BASE_MODEL = {"kind": "embedder", "name": None, "revision": None, "package": None, "wheels": "wheels",
              "vocabulary": None, "add_vocabulary": None, "pooling": None, "training_head": None, "layers": None,
              "tiny": TINY, "dimensions": 8, "projection_passages": 20, "query_length": 16, "document_length": 24,
              "query_expansion": True, "skip": "punctuation", "skip_query": None, "marks": True}  # fmt: skip


def tiny_encoder(dropout=0.0, seed=0, hidden=32):
    """A 2-layer encoder with a vocabulary of its own texts."""
    size = TinySettings(**TINY | {"dropout": dropout, "hidden_size": hidden})
    return build_encoder(TEXTS, size, PROMPTS, seed)


def tiny_reranker(folder, seed=0, dropout=0.0):
    """A cross-encoder on the tiny encoder, which is saved in `folder`."""
    tiny_encoder(dropout).save_pretrained(str(folder))
    return build_cross_encoder(folder, 64, seed)


def save_tiny_models(root):
    """A tiny `embedder` and a tiny `reranker` below the folder, which is returned."""
    tiny_encoder().save_pretrained(str(root / "embedder"))
    tiny_reranker(root / "base").save_pretrained(str(root / "reranker"))
    return root


def save_tiny_late(folder, width=16):
    """A tiny late interaction model: the tiny encoder's tokens, projected."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    encoder, tokens = tiny_encoder(), "token_embeddings"
    dimension = encoder.get_embedding_dimension()
    torch.manual_seed(0)
    project = Dense(dimension, width, bias=False, activation_function=torch.nn.Identity(), module_input_name=tokens)
    modules = [encoder[0], project, MultiVectorMask(), Normalize(module_input_name=tokens)]
    MultiVectorEncoder(modules=modules, prompts=PROMPTS, device="cpu").save_pretrained(str(folder))
    return folder
