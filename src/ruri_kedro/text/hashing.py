"""Stable identifiers: the same content has the same id on every machine and in every run."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

_ID_BYTES = 12  # 96 bits: at 10^9 texts the chance of one collision is below 10^-11


def stable_id(*parts: str) -> str:
    """24 hex digits of BLAKE2b over the parts, which are kept apart by their lengths."""
    digest = hashlib.blake2b(digest_size=_ID_BYTES)
    for part in parts:
        data = part.encode("utf-8")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def digest_json(value: Any) -> str:
    """Digest of a JSON value; the order of keys does not matter."""
    return stable_id(json.dumps(value, sort_keys=True, ensure_ascii=False))


def digest_all(digests: Iterable[str]) -> str:
    """Digest of a sequence of digests, in their order."""
    return stable_id(*digests)


def unit_interval(*parts: str) -> float:
    """A number in [0, 1) drawn by the content itself: the same part of a corpus is held out in every run."""
    return int(stable_id(*parts)[:13], 16) / 16**13
