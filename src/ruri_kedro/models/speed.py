"""What makes an encoder faster where model and device have it: attention without padding, and compilation."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer

from ruri_kedro.errors import RecipeError

_FLASH = "flash_attention_2"


def speed_up(
    model: SentenceTransformer | MultiVectorEncoder | CrossEncoder,
    attention: str | None,
    compiled: bool,
    precision: str,
    stage: str,
) -> None:
    """Give a model on its device another attention (None: its own), and compile it, as the parameters of a stage say.

    Raises RecipeError for an attention that the device or the precision does not have.
    """
    encoder = model.model if isinstance(model, CrossEncoder) else model[0].model
    if attention is not None:
        _check_attention(attention, encoder.device, precision, stage)
        encoder.set_attn_implementation(attention)
        model[0].unpad_inputs = None  # decides again whether texts can stand one behind the other
    if compiled:
        # Not `encoder.compile()`: sentence-transformers calls `forward` itself. In place: the weights keep their names.
        # The draws are those of torch's generator: with and without gradient there are two graphs for the same masks.
        encoder.forward = torch.compile(encoder.forward, dynamic=True, options={"fallback_random": True})


def _check_attention(attention: str, device: torch.device, precision: str, stage: str) -> None:
    if attention != _FLASH:
        return
    if device.type != "cuda" or precision != "bfloat16":
        raise RecipeError(
            f"{stage}.attention: {attention} needs a CUDA device and {stage}.precision: bfloat16; here are "
            f"{device.type} and {precision}."
        )
    if not (find_spec("flash_attn") or find_spec("kernels")):
        raise RecipeError(f"{stage}.attention: {attention} needs a package: pip install flash-attn")


def reads_flat(model: SentenceTransformer) -> bool:
    """Whether the model takes texts one behind the other, without padding."""
    return bool(getattr(model[0], "can_flatten_inputs", False))


def flat_features(
    rows: Sequence[np.ndarray], first_position: int, device: torch.device | str
) -> dict[str, torch.Tensor | int]:
    """Model inputs of token rows one behind the other, (1, sum of lengths), and where each begins.

    first_position: of each text; RoBERTa and its kin count from behind the padding's.
    """
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + first_position
    tensors = {
        "input_ids": np.concatenate(rows).astype(np.int64)[None],
        "position_ids": positions[None],
        "seq_idx": np.repeat(np.arange(len(rows), dtype=np.int32), lengths)[None],
        "cu_seq_lens_q": starts.astype(np.int32),
        "cu_seq_lens_k": starts.astype(np.int32),
    }
    longest = int(lengths.max())
    found = {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in tensors.items()}
    return found | {"max_length_q": longest, "max_length_k": longest}
