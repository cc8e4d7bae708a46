"""A file that is not what was written is noticed before it is used: one message names it, or it is made again."""

import errno
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from damage import cut, flipped
from kedro.io import DatasetError
from tiny import TEXTS, tiny_encoder

from ruri_kedro.benchmark.mteb.vectors import VectorStore, text_keys
from ruri_kedro.corpora.synthesis.chat import Answer
from ruri_kedro.corpora.synthesis.journal import Journal
from ruri_kedro.datasets import FolderDataset, ModelFolder, TableDataset
from ruri_kedro.errors import DamagedError
from ruri_kedro.models.token_cache import TokenCache
from ruri_kedro.search.bm25.index import BM25Settings, build_index
from ruri_kedro.search.dense.embeddings import EmbeddingCache, build_embeddings, load_embeddings
from ruri_kedro.tables import SCHEMAS, ShardedPart, Table, checksums, write_table
from ruri_kedro.tables.files import read_json, write_json
from ruri_kedro.training.plan import plan_batches, stored_plan

SCORES = SCHEMAS["scores"]
ROWS = 300  # of a shard


def shards(key="key", count=3, made=None):
    """A part of shards of random scores."""

    def make(done):
        for number in range(len(done), count):
            if made is not None:
                made.append(number)
            rng = random.Random(number)
            rows = [
                {"model": "m", "task": "t", "metric": "a", "query_id": f"q{n}", "score": rng.random()}
                for n in range(ROWS)
            ]
            yield pa.Table.from_pylist(rows, schema=SCORES)

    return ShardedPart(key, make)


@pytest.fixture
def table(tmp_path) -> Table:
    return write_table(tmp_path / "table", SCORES, {"a": shards()})


def test_every_bit_of_a_part_counts(table):
    whole, rng = table.read(), random.Random(0)
    for _ in range(400):
        path = rng.choice(table.shards("a"))
        with flipped(path, rng), pytest.raises(DamagedError) as caught:
            table.read()
        assert str(path) in str(caught.value) and f"Remove the folder {path.parent}" in str(caught.value)
    assert table.read() == whole


def test_a_part_that_the_disk_does_not_give_is_named(table, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checksums, "checksum", broken)
    with pytest.raises(DamagedError, match=f"{table.shards('a')[0]}: not the bytes that were written"):
        table.read()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_part_that_was_cut_is_named_and_made_again(table, share, caplog):
    whole, path = table.read(), table.shards("a")[1]
    with cut(path, share):
        with pytest.raises(DamagedError, match=f"{path}: .* bytes where .* were written"):
            table.read(columns=["score"])
        write_table(table.root, SCORES, {"a": shards()})
        assert table.read() == whole
    assert f"{path}: " in caplog.text and "is made again" in caplog.text


def test_every_bit_of_a_manifest_counts(table):
    """But for those that change no meaning, as a line break that becomes a space."""
    whole, rng = table.read(), random.Random(1)
    path = table.root / "a/manifest.json"
    for _ in range(60):
        with flipped(path, rng):
            try:
                assert table.read() == whole
            except DamagedError as error:
                assert str(path) in str(error)
    with cut(path, 0.5), pytest.raises(DamagedError, match=f"{path}: not JSON"):
        table.rows()
    with flipped(path, rng):
        write_table(table.root, SCORES, {"a": shards()})
        assert table.read() == whole


def test_damage_to_what_a_killed_run_has_finished_is_made_again(tmp_path, caplog):
    whole = write_table(tmp_path / "whole", SCORES, {"a": shards()}).read()

    def stopped(done):
        yield from list(shards(count=2).shards(done))
        raise KeyboardInterrupt

    for number, name in enumerate(["part-00000.parquet", "part-00001.parquet", "part-00001.json"]):
        root, made = tmp_path / str(number), []
        with pytest.raises(KeyboardInterrupt):
            write_table(root, SCORES, {"a": ShardedPart("key", stopped)})
        path = root / ".unfinished-a" / name
        with flipped(path, random.Random(3)):
            assert write_table(root, SCORES, {"a": shards(made=made)}).read() == whole
        assert made == list(range(int("00001" in name), 3))
        assert str(path) in caplog.text and "The shard is made again" in caplog.text


def test_what_0_1_wrote_is_read_and_a_broken_file_of_it_is_named(table):
    path, whole = table.root / "a/manifest.json", table.read()
    old = {name: value for name, value in read_json(path).items() if name not in ("files", "check")}
    write_json(path, old)
    assert table.read() == whole
    with cut(table.shards("a")[2], 0.5), pytest.raises(DamagedError, match=r"part-00002\.parquet: a broken Parquet"):
        table.read()
    write_json(path, {"rows": 900})
    with pytest.raises(DamagedError, match=r"manifest\.json: digest, key, shards missing"):
        table.rows()


def test_a_marker_that_is_damaged_says_nothing(tmp_path, caplog):
    dataset = TableDataset(filepath=str(tmp_path / "scores"), schema="scores")
    dataset.save({"a": shards()})
    with cut(tmp_path / "scores/manifest.json", 0.5):
        assert not dataset.exists()
    assert f"{tmp_path / 'scores/manifest.json'}: not JSON" in caplog.text and dataset.exists()


def test_json_that_is_none_is_one_message_with_its_file(tmp_path):
    for number, data in enumerate([b"", b"{", b"\xff\xfe", b"[" * 100_000]):
        path = tmp_path / f"{number}.json"
        path.write_bytes(data)
        with pytest.raises(DamagedError, match=f"{path}: not JSON"):
            read_json(path)


def test_a_damaged_token_file_is_tokenised_again(tmp_path, monkeypatch, caplog):
    from ruri_kedro.models import token_cache

    monkeypatch.setattr(token_cache, "_SHARD_TEXTS", 10)
    tokenizer, rng = tiny_encoder().tokenizer, random.Random(0)

    def ids():
        rows = TokenCache(tmp_path, tokenizer).rows(TEXTS, None)
        return [rows.row(number).tolist() for number in range(len(TEXTS))]

    whole = ids()
    for number in range(12):
        path = rng.choice(sorted(tmp_path.glob("*/*.arrow")))
        with cut(path, 0.7) if number % 4 == 0 else flipped(path, rng):
            assert ids() == whole
        assert f"{path}: not the bytes that its name says" in caplog.text


def encode(texts):
    return np.array([[len(text), ord(text[0]), 1.0] for text in texts], dtype=np.float32)


def embeddings(folder, cache):
    """A data set of embeddings of a few documents by way of a cache; the vectors are read from disk."""
    documents = [(f"{number:024x}", text) for number, text in enumerate(TEXTS)]
    held = EmbeddingCache(cache, 8)
    dataset = FolderDataset(filepath=str(folder))
    dataset.save({"a": lambda path: build_embeddings(documents, path, "key", held, encode)})
    return dataset, lambda: load_embeddings(dataset.load() / "a", EmbeddingCache(cache, 8)).vectors[:].tolist()


def test_a_damaged_shard_of_embeddings_is_encoded_again(tmp_path, caplog):
    rng, (_, vectors) = random.Random(0), embeddings(tmp_path / "lists", tmp_path / "cache")
    whole = vectors()
    for number in range(8):
        path = rng.choice(sorted(tmp_path.glob("cache/*/*")))
        with cut(path, 0.5) if number % 4 == 0 else flipped(path, rng):
            _, again = embeddings(tmp_path / "lists", tmp_path / "cache")
            assert again() == whole
        assert str(path) in caplog.text and "Its texts are encoded again" in caplog.text


def index(folder):
    """A data set of a BM25 index."""
    settings = BM25Settings(engine="bm25s", analyzer="sudachi_a", k1=0.9, b=0.4, threads=1, heap_mb=64)
    documents = [(str(number), text) for number, text in enumerate(TEXTS)]
    dataset = FolderDataset(filepath=str(folder))
    dataset.save({"a": lambda path: build_index(documents, path, settings, "key")})
    return dataset


@pytest.mark.parametrize("kind", ["index", "embeddings"])
def test_a_damaged_index_is_named_when_it_is_loaded_and_made_again_by_its_pipeline(tmp_path, caplog, kind):
    def make():
        return index(tmp_path / "i") if kind == "index" else embeddings(tmp_path / "i", tmp_path / "cache")[0]

    rng, dataset = random.Random(0), make()
    for number in range(8):
        path = rng.choice([path for path in sorted(tmp_path.glob("i/a/**/*")) if path.is_file()])
        with cut(path, 0.5) if number % 4 == 0 else flipped(path, rng):
            with pytest.raises(DatasetError) as caught:
                dataset.load()
            assert str(path) in str(caught.value) and "Remove the folder" in str(caught.value)
            make().load()
        assert "is made again" in caplog.text


def test_a_damaged_block_of_vectors_is_encoded_again(tmp_path, caplog):
    keys, rng = text_keys(TEXTS, 8), random.Random(0)

    def vectors():
        held = VectorStore(tmp_path)
        for start in range(0, len(keys), 10):
            some = keys[start : start + 10]
            if len(missing := held.missing(some)):
                held.add(some[missing], encode([TEXTS[start + place] for place in missing]))
        return held.get(keys).tolist()

    whole = vectors()
    for number in range(8):
        path = rng.choice(sorted(tmp_path.glob("*/*")))
        with cut(path, 0.5) if number % 4 == 0 else flipped(path, rng):
            assert vectors() == whole
        assert str(path) in caplog.text


def test_a_damaged_plan_is_made_again(tmp_path, caplog):
    def plan():
        made = stored_plan(tmp_path / "plan", "key", lambda: plan_batches(groups, groups[:, None], 8, 2, True, 1))
        return [(batch.group, batch.rows.tolist()) for batch in made], made.dropped.tolist()

    groups, rng = np.arange(50) % 3, random.Random(0)
    whole = plan()
    for number in range(8):
        path = rng.choice(sorted(tmp_path.glob("plan/*")))
        with cut(path, 0.5) if number % 4 == 0 else flipped(path, rng):
            assert plan() == whole
        assert str(path) in caplog.text


def test_a_damaged_answer_is_asked_for_again(tmp_path):
    answers, rng, path = (
        {f"{n:024x}": Answer(TEXTS[n], "stop", n, n) for n in range(8)},
        random.Random(0),
        tmp_path / "j",
    )
    with Journal(path) as journal:
        for key, answer in answers.items():
            journal.add(key, answer)
    lost = 0
    for _ in range(40):
        with flipped(path, rng), Journal(path) as journal:
            kept = {key: journal[key] for key in answers if key in journal}
            assert all(kept[key] == answers[key] for key in kept)
            lost += len(kept) < len(answers)
    assert lost >= 36  # a bit of the word `check` loses nothing


class Saved:
    """A model of two files."""

    def save_pretrained(self, path):
        Path(path, "config.json").write_text("{}")
        Path(path, "model.safetensors").write_bytes(bytes(range(256)))


def test_a_damaged_model_is_named(tmp_path):
    dataset, rng = ModelFolder(filepath=str(tmp_path / "model")), random.Random(0)
    dataset.save(Saved())
    for path in sorted(tmp_path.glob("model/*")):
        with flipped(path, rng), pytest.raises(DatasetError, match=path.name):
            dataset.load()
        with cut(path, 0.5), pytest.raises(DatasetError, match=path.name):
            dataset.load()
