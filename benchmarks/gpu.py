"""What only a GPU can show, in at most eight minutes: speed, memory, and that trainings are exact.

    python benchmarks/gpu.py                          # BERT of 12 layers of 384 with random weights
    python benchmarks/gpu.py --model FOLDER           # a checkpoint in its place, such as multilingual-e5-small
    python benchmarks/gpu.py --parts finetuning resume
    python benchmarks/gpu.py --device cpu --quick     # every part at toy size: whether it runs, no figures

It needs a clone, torch with a CUDA device, and wheels, which it names where they are missing. One JSON line for each
way that a part measures, then one with the part's seconds, or with `skipped` or `error` and the reason: the other parts
go on. Each part has a process and a share of the time of its own. benchmarks/README.md says what the lines mean.
"""

import argparse
import re
import signal
import sys
import tempfile
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from figures import alone, tell

ROOT = Path(__file__).resolve().parents[1]
EIGHT_MINUTES = 8 * 60
# Modules whose wheel has another name in pyproject.toml, and those whose wheel has theirs.
OTHERWISE = {"annotated_types": "annotated-types", "faiss": "faiss-cpu",
             "sentence_transformers": "sentence-transformers"}  # fmt: skip
ALIKE = ("filelock", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "scipy", "tokenizers", "torch", "tqdm",
         "transformers", "xxhash")  # fmt: skip


def missing_wheels() -> list[str]:
    """What pip must install, with the versions of pyproject.toml."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    named = {re.match(r"[\w-]+", requirement)[0]: requirement for requirement in wanted}
    modules = OTHERWISE | {module: module for module in ALIKE}
    return [named[wheel] for module, wheel in modules.items() if find_spec(module) is None]


def main() -> None:
    if missing := missing_wheels():
        sys.exit("Wheels are missing. Install them:\npip install " + " ".join(f"'{wheel}'" for wheel in missing))
    if find_spec("ruri_kedro") is None:
        sys.path.insert(0, str(ROOT / "src"))
    measure_all()


def measure_all() -> None:
    """Read the options, and do the parts one after the other."""
    began = time.monotonic()
    from gpu_measure import machine
    from gpu_parts import PARTS, run

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--model", type=Path, help="folder of an encoder, in place of one with random weights")
    parser.add_argument("--text", type=Path, help="gzipped JSON Lines with question and context")
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    chosen = parser.parse_args()
    check_device(chosen.device)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends the part in work, too
    machine(chosen.device)
    with tempfile.TemporaryDirectory() as folder:
        work = prepared(chosen, Path(folder) / "model")
        for part in chosen.parts:
            left = began + 60 * chosen.minutes - time.monotonic()
            share = PARTS[part].seconds * 60 * chosen.minutes / EIGHT_MINUTES
            started = time.monotonic()
            try:
                reason = alone(run, part, work, seconds=max(min(share, left), 0))
            except (RuntimeError, TimeoutError) as error:
                found = {"error": str(error)}
            else:
                found = {"skipped": reason} if reason else {}
            tell(part, **found, seconds=round(time.monotonic() - started, 1))
    tell("all", seconds=round(time.monotonic() - began, 1))


def check_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here. --device cpu --quick runs every part at toy size.")


def prepared(chosen: argparse.Namespace, folder: Path) -> Any:
    """What the parts are given: the model, written to `folder`, the texts and the sizes."""
    from gpu_measure import Work
    from peers import read_pairs, write_bert, write_copy

    pairs = read_pairs(chosen.text)
    if chosen.model is not None:
        write_copy(folder, chosen.model, dropout=0.0)
    else:
        write_bert(folder, *((2, 48) if chosen.quick else (12, 384)), pairs)
    if chosen.quick:
        sizes = {"large_model": (2, 48), "seconds": 0.0, "chunk": 2**10, "batch": 8, "large": 32, "groups": 1,
                 "texts": 32, "documents": 500, "queries": 20, "steps": 4}  # fmt: skip
    else:
        sizes = {"large_model": (12, 768), "seconds": 4.0, "chunk": 2**16, "batch": 256, "large": 8192, "groups": 4,
                 "texts": 8192, "documents": 500_000, "queries": 1000, "steps": 8}  # fmt: skip
    return Work(device=chosen.device, model=folder, pairs=pairs[:64] if chosen.quick else pairs, **sizes)


if __name__ == "__main__":
    main()
