"""Token ids on disk: every text once per tokenizer, whatever the stage, its lengths and its special tokens."""

import hashlib
import json
import logging
import multiprocessing
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ruri_kedro.errors import DataError
from ruri_kedro.models.tokens import TokenRows, tokenize
from ruri_kedro.tables.checksums import checksum
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.files import replace_file
from ruri_kedro.text.hashing import digest_all, digest_json, stable_id

logger = logging.getLogger(__name__)

_SHARD_TEXTS = 65_536  # what a killed run loses at most
_TASK_TEXTS = 1024
_MERGED = 1 << 23  # texts; longer runs are left as they are
_DIGEST_BYTES = 12
_DIGEST = np.dtype(f"S{_DIGEST_BYTES}")
_SCHEMA = pa.schema([("digest", pa.binary(_DIGEST_BYTES)), ("ids", pa.large_list(pa.int32()))])
# What a call or a recipe sets in a tokenizer without changing the ids of a text.
_OF_CALLS = ("truncation", "padding", "model_max_length", "max_length", "stride", "tokenizer_file", "name_or_path")


# What the ids are made by and kept as.
_WORK = ("ruri_kedro.models.tokens.tokenize", f"{__name__}._SCHEMA")


class TokenCache:
    """Token ids by digest of their text, in a folder of Arrow files that only grows and may be removed at any time.

    The ids are neither cut nor have special tokens, so all stages share them. A file holds up to 65,536 texts and is
    whole or not there: a killed run continues with the first that is missing. Its name ends with its checksum; one
    that is damaged is removed, and its texts are tokenised again. `workers`: processes of tokenizers
    that are not in Rust; those that are use threads of their own.
    """

    def __init__(self, folder: Path, tokenizer: PreTrainedTokenizerBase, workers: int = 1) -> None:
        self._tokenizer = tokenizer
        self._workers = workers
        self.digest = digest_all([tokenizer_digest(tokenizer), behaviour_digest(*_WORK)])
        self._folder = Path(folder) / self.digest
        self.files: list[str] = []  # names, by place
        self._runs: list[_Run] = []
        self._starts: list[np.ndarray] = []  # int64 (texts + 1,), of each text in `_ids`
        self._ids: list[np.ndarray] = []

    def has(self, files: Iterable[str]) -> bool:
        """Whether these files are there, as they were written."""
        return all(_is_sound(self._folder / name) for name in files)

    def arrays(self, files: Iterable[str]) -> list[np.ndarray]:
        """The ids of these files, mapped: what `TokenRows.arrays` was when `files` had these names."""
        return [_read(self._folder / name)["ids"].values.to_numpy() for name in files]

    def rows(self, texts: Sequence[str], max_length: int | None, special: bool = True) -> TokenRows:
        """What `tokenize` gives for the texts; those that are not in the cache are tokenised and added."""
        known = set(self.files)
        for path in sorted(self._folder.glob("*.arrow")):
            if path.name not in known and _is_sound(path):
                self._open(path)
        digests = np.array([bytes.fromhex(stable_id(text)) for text in texts], _DIGEST)
        places, numbers = self._find(digests)
        if len(missing := np.flatnonzero(places < 0)):
            missing = missing[np.unique(digests[missing], return_index=True)[1]]
            self._add([texts[i] for i in np.sort(missing)])
            places, numbers = self._find(digests)
        before, after = special_tokens(self._tokenizer) if special else np.zeros((2, 0), np.int32)
        starts, lengths = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
        by_place = np.argsort(places, kind="stable")
        cuts = np.flatnonzero(np.diff(places[by_place])) + 1
        for here in np.split(by_place, cuts) if len(texts) else ():
            bounds = self._starts[places[here[0]]]
            starts[here] = bounds[numbers[here]]
            lengths[here] = bounds[numbers[here] + 1] - starts[here]
        lengths += len(before) + len(after)
        if max_length is not None:
            lengths = np.minimum(lengths, max_length)
        return TokenRows(self._ids, places, starts, lengths, before, after)

    def _find(self, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """File of each digest, int32, -1 for one that is in none, and its place in the file."""
        places, numbers = np.full(len(digests), -1, np.int32), np.zeros(len(digests), np.int64)
        for run in self._runs:
            left = np.flatnonzero(places < 0)
            found = np.minimum(np.searchsorted(run.digests, digests[left]), len(run.digests) - 1)
            same = run.digests[found] == digests[left]
            places[left[same]], numbers[left[same]] = run.places[found[same]], run.numbers[found[same]]
        return places, numbers

    def _add(self, texts: list[str]) -> None:
        with (
            tqdm(total=len(texts), desc="tokenise", unit="text", mininterval=1.0, leave=None, disable=None) as bar,
            _tokenizing(self._tokenizer, self._workers) as ids_of,
        ):
            for start in range(0, len(texts), _SHARD_TEXTS):
                part = texts[start : start + _SHARD_TEXTS]
                found = []
                for rows in ids_of(part):
                    found += [rows.row(number) for number in range(len(rows.lengths))]
                    bar.update(len(rows.lengths))
                self._write(part, found)

    def _write(self, texts: list[str], rows: list[np.ndarray]) -> None:
        digests = [stable_id(text) for text in texts]
        order = sorted(range(len(digests)), key=digests.__getitem__)
        offsets = np.cumsum([0, *(len(rows[i]) for i in order)])
        ids = pa.array(np.concatenate([rows[i] for i in order]), pa.int32())
        batch = pa.record_batch(
            [
                pa.array([bytes.fromhex(digests[i]) for i in order], pa.binary(_DIGEST_BYTES)),
                pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), ids),
            ],
            schema=_SCHEMA,
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, _SCHEMA) as file:
            file.write_batch(batch)
        data = sink.getvalue()
        path = self._folder / f"{digest_all(digests)}-{xxhash.xxh3_128_hexdigest(data)}.arrow"
        with replace_file(path) as aside:
            aside.write_bytes(data)
        self._open(path)

    def _open(self, path: Path) -> None:
        batch = _read(path)
        digests = np.frombuffer(batch["digest"].buffers()[1], _DIGEST, batch.num_rows)
        run = _Run(digests, np.full(len(digests), len(self.files), np.int32), np.arange(len(digests), dtype=np.int32))
        while self._runs and len(self._runs[-1].digests) <= len(run.digests) <= _MERGED:
            run = self._runs.pop().merged(run)
        self._runs.append(run)
        self.files.append(path.name)
        self._starts.append(batch["ids"].offsets.to_numpy())
        self._ids.append(batch["ids"].values.to_numpy())


@dataclass(frozen=True)
class _Run:
    """Digests of one file or several, in rising order, and where their ids are."""

    digests: np.ndarray
    places: np.ndarray  # int32, which file
    numbers: np.ndarray  # int32, which text of it

    def merged(self, other: "_Run") -> "_Run":
        """Both in one: thousands of files are then a dozen runs to look into."""
        digests = np.concatenate([self.digests, other.digests])
        order = np.argsort(digests, kind="stable")
        places, numbers = (
            np.concatenate(pair) for pair in ((self.places, other.places), (self.numbers, other.numbers))
        )
        return _Run(digests[order], places[order], numbers[order])


def _is_sound(path: Path) -> bool:
    """Whether a file is there as it was written; one that is damaged, or that 0.1 wrote, is removed."""
    if not path.exists():
        return False
    if path.stem.partition("-")[2] == checksum(path)["xxh3"]:
        return True
    logger.warning("%s: not the bytes that its name says. Its texts are tokenised again.", path)
    path.unlink(missing_ok=True)
    return False


def _read(path: Path) -> pa.RecordBatch:
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[np.ndarray, np.ndarray]:
    """Ids that the tokenizer puts before and after a text; raises DataError if it does not just surround the text."""
    text = "あ い"
    plain, whole = (tokenizer(text, add_special_tokens=special)["input_ids"] for special in (False, True))
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return np.array(whole[:start], np.int32), np.array(whole[start + len(plain) :], np.int32)
    raise DataError(
        f"{tokenizer.name_or_path}: special tokens change the ids of '{text}', which cannot be kept on disk."
    )


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Digest of what a tokenizer is saved as, without what a call to it may set."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        found = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}
    return digest_json(
        {name: _lasting(data) if name.endswith(".json") else hashlib.sha256(data).hexdigest()
         for name, data in found.items()}
    )  # fmt: skip


def _lasting(data: bytes) -> object:
    value = json.loads(data)
    if not isinstance(value, Mapping):
        return value
    return {name: part for name, part in value.items() if name not in _OF_CALLS}


@contextmanager
def _tokenizing(tokenizer: PreTrainedTokenizerBase, workers: int) -> Iterator:
    """A function from texts to their TokenRows, some texts at a time and in their order."""
    if tokenizer.is_fast or workers < 2:
        yield lambda texts: (tokenize(tokenizer, part, None, special=False) for part in _tasks(texts))
        return
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        # Not forked: this process has threads of torch.
        with multiprocessing.get_context("spawn").Pool(workers, _load, (folder,)) as pool:
            yield lambda texts: pool.imap(_tokenize, _tasks(texts))


def _tasks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + _TASK_TEXTS] for start in range(0, len(texts), _TASK_TEXTS))


_of_worker: list[PreTrainedTokenizerBase] = []


def _load(folder: str) -> None:
    _of_worker.append(AutoTokenizer.from_pretrained(folder, trust_remote_code=False))


def _tokenize(texts: Sequence[str]) -> TokenRows:
    return tokenize(_of_worker[0], texts, None, special=False)
