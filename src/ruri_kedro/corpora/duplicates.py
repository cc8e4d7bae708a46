"""Near-duplicate texts within and across sources, in memory that does not grow with the corpus."""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby, islice, pairwise
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from ruri_kedro.corpora.source import Source
from ruri_kedro.errors import DataError
from ruri_kedro.recipe.parse import Count, ShareAbove, parameters
from ruri_kedro.tables.files import sole_user, sole_writer
from ruri_kedro.text.hashing import digest_json
from ruri_kedro.text.normalize import match_key
from ruri_kedro.text.overlap import MinHash, by_chars, jaccard

logger = logging.getLogger(__name__)

_FOLDER = ".duplicates-"
_JOURNAL = "journal.json"
_WINDOW = 16  # of a bucket's texts, each is compared with the first and with so many before it
_ROW_BYTES = 256  # memory for a row of two numbers, its sorted copy and its Python objects
_READ_VALUES = 1 << 16  # an even number: pairs are read whole
_READ_BYTES = 1 << 20
_DOCID_BYTES = 12  # of `text.hashing.stable_id`
_PAIR_BYTES = 16

Shard = Iterable[tuple[str, str]]  # (docid, text)


@parameters
class DuplicateRules:
    """When a text is a near duplicate: Jaccard similarity of n-grams of `threshold` (None: no text is) or more.

    Texts below `min_chars` characters take no part. `across`: compare the sources with each other, too. `memory_mb` is
    for the sorting; `scratch` a folder for about 10 * bands bytes per text and the texts themselves.
    """

    threshold: ShareAbove | None
    min_chars: Count
    ngram: Count
    bands: Count
    rows: Count
    across: bool
    memory_mb: Count
    scratch: str


def families(sources: Mapping[str, Source]) -> dict[str, int]:
    """A number per source; sources that hold the same texts on purpose have the same one.

    These are sources made of one raw file or data set (its titles, its questions, ...), and a source and the
    collection it searches. Compared with each other, all of the later one would go.
    """
    family = {name: number for number, name in enumerate(sources)}
    for name, source in sources.items():
        for other, its in sources.items():
            if source.candidates == other or source.data_sets & its.data_sets:
                old, new = sorted((family[name], family[other]))
                family = {key: old if number == new else number for key, number in family.items()}
    return family


def find_duplicates(
    texts: Mapping[str, Iterable[Shard]], family: Mapping[str, int], rules: DuplicateRules, key: str
) -> Iterator[dict]:
    """Rows of DUPLICATES, in the order of the texts: what is left out, and the earlier text that stays for it.

    `texts`: (docid, text) of each source, a docid as often as it comes, in shards. Sources with one number in `family`
    are not compared with each other. A text is left out if an earlier one that is kept itself has `rules.threshold`
    with it, so no text goes for its likeness to one that went. Candidates share a MinHash band; the n-grams decide. Of
    a bucket, a text is compared with the first and the 16 before it, so that one bucket of all texts takes linear time.

    Texts, buckets and candidates are files in `rules.scratch`. A band is joined portion by portion of its hash values,
    the candidates portion by portion of the texts, each of about `rules.memory_mb`, or of one bucket if that is more.

    `key`: of everything that the texts and what is done with them depend on. A search that was stopped is continued by
    the next one with its key, behind the last shard or band that was finished; any other search removes what it left.
    Raises DataError where another process is at this search.
    """
    # What other searches have left goes.
    scratch = Path(rules.scratch)
    folder = scratch / f"{_FOLDER}{key}"
    for leftover in scratch.glob(f"{_FOLDER}*"):
        if leftover != folder:
            _remove(leftover)
    if rules.threshold is None:
        return
    # The texts in files, then their bands joined, then the decisions.
    folder.mkdir(parents=True, exist_ok=True)
    busy = DataError(
        f"{folder}: another run is at this search. Wait for its end, or name another folder in deduplication.scratch."
    )
    with sole_user(folder, busy):
        with closing(_Store(folder, rules, list(texts))) as store:
            store.add(texts)
            store.join(family)
            yield from store.decide()
        shutil.rmtree(folder)


def _remove(leftover: Path) -> None:
    """Remove a search that was stopped, unless another process is at it."""
    with suppress(DataError), sole_writer(leftover):
        shutil.rmtree(leftover, ignore_errors=True)


@dataclass
class _Progress:
    """What a search has finished, as its journal says; what its files hold beyond `sizes` does not count."""

    ends: list[int] = field(default_factory=list)  # the number behind the last text of each source that was added
    shards: int = 0  # that were added of the next source
    bands: int = 0  # that were joined
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of each file
    sums: dict[str, int] = field(default_factory=dict)  # CRC-32 of them

    @staticmethod
    def of(folder: Path) -> "_Progress":
        """That of the search in `folder`, whose files are cut to it; of nothing where they are damaged."""
        journal = folder / _JOURNAL
        try:
            done = _Progress.said(journal.read_text("utf-8")) if journal.exists() else _Progress()
            sizes = done.sizes.items()
            fault = next((name for name, size in sizes if _crc(folder / name, size) != done.sums[name]), "")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # empty after a loss of power, for example
            fault = _JOURNAL
        if fault:  # the machine stopped before all was on disk, the folder was being removed, or the disk is failing
            logger.warning("%s: missing or damaged. The search for near duplicates starts again.", folder / fault)
            journal.unlink()
            done = _Progress()
        # What was written behind the last entry of the journal is cut off.
        files = {path.name: path for path in folder.glob("[!.]*") if path != journal}
        for name, path in files.items():
            if name in done.sizes:
                os.truncate(path, done.sizes[name])
            else:
                path.unlink()
        return done

    @staticmethod
    def said(text: str) -> "_Progress":
        """That of a journal; raises one of several errors where it is not what `text` gave."""
        value = json.loads(text)
        if value.pop("check") != digest_json(value):
            raise ValueError("not what was written")
        return _Progress(**value)

    def text(self) -> str:
        """The journal, with its checksum."""
        value = asdict(self)
        return json.dumps({**value, "check": digest_json(value)})


def _crc(path: Path, size: int) -> int | None:
    """CRC-32 of the first `size` bytes of a file; None where it has fewer, or is not there."""
    if not path.exists():
        return None
    crc, left = 0, size
    with path.open("rb") as file:
        while left and (block := file.read(min(left, _READ_BYTES))):
            crc, left = zlib.crc32(block, crc), left - len(block)
    return None if left else crc


class _Store:
    """Texts numbered in their order, with their buckets and the pairs to compare, on disk."""

    def __init__(self, folder: Path, rules: DuplicateRules, sources: list[str]) -> None:
        self._folder = folder
        self._rules = rules
        self._sources = sources
        self._minhash = MinHash(rules.ngram, rules.bands, rules.rows)
        self._files: dict[str, BinaryIO] = {}
        self._done = _Progress.of(folder)

    def close(self) -> None:
        """Close what was read."""
        for file in self._files.values():
            file.close()

    @property
    def _count(self) -> int:
        """Texts."""
        return self._size("docids") // _DOCID_BYTES

    def add(self, texts: Mapping[str, Iterable[Shard]]) -> None:
        """Number and write the texts that are long enough, of the shards that were not added yet."""
        done = self._done
        for source in self._sources[len(done.ends) :]:
            label, added = f"near duplicates, {source}", self._count - max(done.ends, default=0)
            with tqdm(desc=label, unit="text", initial=added, mininterval=1.0, disable=None) as told:
                for shard in islice(texts[source], done.shards, None):
                    self._add_shard(shard, told)
                    done.shards += 1
                    self._save()
            done.ends.append(self._count)
            done.shards = 0
            self._save()

    def _add_shard(self, shard: Shard, told: tqdm) -> None:
        """Write the texts of a shard; a repetition in a row is left out."""
        distinct = (next(group) for _, group in groupby(shard, key=itemgetter(0)))
        long = ((docid, match_key(text)) for docid, text in distinct if len(text) >= self._rules.min_chars)
        for docids, keys in by_chars(item for item in long if len(item[1]) >= self._rules.ngram):
            encoded = [key.encode("utf-8") for key in keys]
            ends = self._size("keys") + np.cumsum([len(data) for data in encoded], dtype=np.int64)
            self._append("docids", b"".join(map(bytes.fromhex, docids)))
            self._append("keys", b"".join(encoded))
            self._append("ends", ends)
            for band, buckets in enumerate(self._minhash.buckets(keys).T):
                self._append(f"band-{band}", np.ascontiguousarray(buckets))
            told.update(len(docids))

    def join(self, family: Mapping[str, int]) -> None:
        """Write the pairs of texts that share a bucket, of the bands that were not joined yet."""
        families = np.array([family[source] for source in self._sources])
        bands, first = range(self._rules.bands), self._done.bands
        told = {"desc": "near duplicates, join", "unit": "band", "disable": None}
        for band in tqdm(bands[first:], initial=first, total=len(bands), **told):
            for buckets, numbers in self._portions(f"band-{band}"):
                order = np.argsort(buckets, kind="stable")
                for later, earlier in _neighbours(buckets[order], numbers[order]):
                    one, two = self._source_of(later), self._source_of(earlier)
                    wanted = one == two
                    if self._rules.across:
                        wanted |= families[one] != families[two]
                    self._append("pairs", np.column_stack([later, earlier])[wanted])
            self._done.bands += 1
            self._save()

    def decide(self) -> Iterator[dict]:
        """Rows of DUPLICATES; each text is judged when all earlier ones are."""
        if not self._size("pairs"):
            return
        # Written, not a file with holes: where the disk is full, a write into a mapped hole kills the process.
        for start in range(0, self._count, _READ_VALUES):
            self._append("gone", bytes(min(_READ_VALUES, self._count - start)))
        gone = np.memmap(self._folder / "gone", dtype=bool, mode="r+")
        for portion in self._pairs():
            for later, group in groupby(portion.tolist(), key=itemgetter(0)):
                row = self._judge(later, [earlier for _, earlier in group], gone)
                if row:
                    yield row

    def _judge(self, number: int, earlier: list[int], gone: np.ndarray) -> dict | None:
        """The row of a text that goes, for the first of the earlier ones that stays; a repeated docid is one text."""
        docid = self._docid(number)
        if any(self._docid(other) == docid for other in earlier):
            gone[number] = True
            return None
        key = self._key(number)
        for other in earlier:
            if not gone[other]:
                overlap = jaccard(key, self._key(other), self._rules.ngram)
                if overlap >= self._rules.threshold:
                    gone[number] = True
                    return self._row(number, other, overlap)
        return None

    def _row(self, number: int, kept: int, overlap: float) -> dict:
        source, kept_source = (self._sources[int(self._source_of(n))] for n in (number, kept))
        return {
            "docid": self._docid(number),
            "source": source,
            "kept": self._docid(kept),
            "kept_source": kept_source,
            "overlap": overlap,
        }

    def _source_of(self, numbers: np.ndarray | int) -> np.ndarray:
        return np.searchsorted(self._done.ends, numbers, side="right")

    def _docid(self, number: int) -> str:
        return self._read("docids", number * _DOCID_BYTES, _DOCID_BYTES).hex()

    def _key(self, number: int) -> str:
        first = max(number - 1, 0)
        ends = np.frombuffer(self._read("ends", first * 8, 16 if number else 8), np.int64)
        start = int(ends[0]) if number else 0
        return self._read("keys", start, int(ends[-1]) - start).decode("utf-8")

    def _portions(self, band: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(buckets, numbers of their texts in order) of a band, by ranges of the buckets' upper half."""
        if not self._count:
            return
        half, portions = np.uint64(32), np.uint64(self._number_of_portions(self._count))
        for portion in range(int(portions)):
            chosen = []
            for start, block in self._blocks(band, np.uint64):
                places = np.flatnonzero(((block >> half) * portions) >> half == portion)
                chosen.append((block[places], places + start))
            buckets, numbers = zip(*chosen, strict=True)
            yield np.concatenate(buckets), np.concatenate(numbers)

    def _pairs(self) -> Iterator[np.ndarray]:
        """Distinct (later, earlier) in order, by ranges of the later one."""
        portions = self._number_of_portions(self._size("pairs") // _PAIR_BYTES)
        bounds = np.linspace(0, self._count, portions + 1).astype(np.int64)
        for first, last in pairwise(bounds):
            blocks = (block.reshape(-1, 2) for _, block in self._blocks("pairs", np.int64))
            chosen = [block[(block[:, 0] >= first) & (block[:, 0] < last)] for block in blocks]
            yield np.unique(np.concatenate(chosen), axis=0)

    def _number_of_portions(self, rows: int) -> int:
        return rows * _ROW_BYTES // (self._rules.memory_mb << 20) + 1

    def _append(self, name: str, data: bytes | np.ndarray) -> None:
        with (self._folder / name).open("ab") as file:
            file.write(data)
        self._done.sizes[name] = self._size(name) + memoryview(data).nbytes
        self._done.sums[name] = zlib.crc32(data, self._done.sums.get(name, 0))

    def _size(self, name: str) -> int:
        """Bytes that were written to a file."""
        return self._done.sizes.get(name, 0)

    def _save(self) -> None:
        """Replace the journal whole; not synced, as the files it tells of are not: a busy disk takes long."""
        aside = self._folder / f".{_JOURNAL}"
        aside.write_text(self._done.text(), encoding="utf-8")
        os.replace(aside, self._folder / _JOURNAL)

    # Read, not mapped: the pages of a mapped file count as memory of this process.
    def _read(self, name: str, start: int, size: int) -> bytes:
        """Bytes of a file that is complete."""
        if name not in self._files:
            self._files[name] = (self._folder / name).open("rb", buffering=0)
        self._files[name].seek(start)
        return self._files[name].read(size)

    def _blocks(self, name: str, kind: type) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first value, values) of a file, read once from end to end."""
        start = 0
        with (self._folder / name).open("rb") as file:
            while len(values := np.fromfile(file, kind, _READ_VALUES)):
                yield start, values
                start += len(values)


def _neighbours(buckets: np.ndarray, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(later, earlier) texts of one bucket, each with up to _WINDOW before and the first. `buckets` are sorted."""
    starts = np.flatnonzero(np.append(True, buckets[1:] != buckets[:-1]))
    places = np.arange(len(buckets)) - np.repeat(starts, np.diff(np.append(starts, len(buckets))))
    for back in range(1, _WINDOW + 1):
        later = np.flatnonzero(places >= back)
        yield numbers[later], numbers[later - back]
    later = np.flatnonzero(places > _WINDOW)
    yield numbers[later], numbers[later - places[later]]
