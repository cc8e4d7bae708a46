"""Tables are written whole or not at all."""

import hashlib
import io
from dataclasses import replace

import pyarrow as pa
import pytest

from ruri_kedro.errors import DataError
from ruri_kedro.tables import SCHEMAS, Part, ShardedPart, store, write_table
from ruri_kedro.tables.files import replace_dir, replace_file

SCORES = SCHEMAS["scores"]


def rows(count, start=0):
    return [
        {"model": "m", "task": "t", "metric": "ndcg@10", "query_id": str(start + i), "score": i / 7}
        for i in range(count)
    ]


def part(key, *blocks, calls=None):
    def make():
        if calls is not None:
            calls.append(key)
        yield from blocks

    return Part(key, make)


def test_rows_come_back_in_order_from_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD_ROWS", 7)
    table = write_table(tmp_path, SCORES, {"a": part("1", rows(5), rows(11, 5)), "b": part("2")})
    assert [row["query_id"] for row in table.iter_rows(["a"])] == [str(i) for i in range(16)]
    assert len(table.manifest("a")["shards"]) == 3
    assert table.rows("b") == 0
    assert table.read(["b"]).schema.names == SCORES.names


def test_a_part_with_the_same_key_is_not_made_again(tmp_path):
    calls = []
    write_table(tmp_path, SCORES, {"a": part("1", rows(3), calls=calls)})
    write_table(tmp_path, SCORES, {"a": part("1", rows(3), calls=calls)})
    write_table(tmp_path, SCORES, {"a": part("2", rows(4), calls=calls)})
    assert calls == ["1", "2"]


def test_a_part_that_is_no_longer_wanted_goes(tmp_path):
    write_table(tmp_path, SCORES, {"a": part("1", rows(1)), "b": part("1", rows(1))})
    assert write_table(tmp_path, SCORES, {"b": part("1", rows(1))}).parts() == ["b"]


def test_a_write_that_fails_leaves_the_finished_parts_and_no_half_one(tmp_path):
    def broken():
        yield rows(3)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_table(tmp_path, SCORES, {"a": part("1", rows(2)), "b": Part("1", broken)})
    table = store.Table(tmp_path, SCORES)
    assert table.parts() == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_writer_left_is_never_read_and_goes_with_the_next_write(tmp_path):
    leftover = tmp_path / ".writing-a-00000000"
    leftover.mkdir()
    (leftover / "part-00000.parquet").write_bytes(b"half")
    (leftover / "manifest.json").write_text("{}")
    assert store.Table(tmp_path, SCORES).parts() == []
    write_table(tmp_path, SCORES, {"a": part("1", rows(2))})
    assert not leftover.exists()


def test_the_digest_is_that_of_the_rows_however_they_were_cut(tmp_path):
    one = write_table(tmp_path / "one", SCORES, {"a": part("1", rows(10))})
    two = write_table(tmp_path / "two", SCORES, {"a": part("9", rows(4), rows(6, 4))})
    assert [row["query_id"] for row in one.iter_rows()] == [row["query_id"] for row in two.iter_rows()]
    other = write_table(tmp_path / "other", SCORES, {"a": part("1", rows(9))})
    assert one.digest() != other.digest()


def test_equal_rows_give_equal_files(tmp_path):
    for name in ("one", "two"):
        write_table(tmp_path / name, SCORES, {"a": part("1", rows(10))})
    files = [(tmp_path / name / "a" / "part-00000.parquet").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "high"}, "row 1, column 'score': str given, double expected"),
        ({"query_id": None}, "row 1, column 'query_id': no value"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, change, message):
    wrong = rows(2)
    wrong[1] = wrong[1] | change
    with pytest.raises(DataError, match=message):
        write_table(tmp_path, SCORES, {"a": part("1", wrong)})


def test_record_batches_are_taken_as_they_are(tmp_path):
    batch = pa.RecordBatch.from_pylist(rows(4), schema=SCORES)
    assert write_table(tmp_path, SCORES, {"a": part("1", batch)}).read().num_rows == 4


def test_a_part_that_is_not_there_is_named(tmp_path):
    table = write_table(tmp_path, SCORES, {"a": part("1", rows(1))})
    with pytest.raises(DataError, match="no part 'b'"):
        table.rows("b")


def test_a_directory_is_replaced_only_by_a_complete_one(tmp_path):
    target = tmp_path / "model"
    with replace_dir(target) as aside:
        (aside / "weights").write_text("old")
    with pytest.raises(OSError, match="full"), replace_dir(target) as aside:
        (aside / "weights").write_text("ne")
        raise OSError("disk full")
    assert (target / "weights").read_text() == "old"
    with replace_dir(target) as aside:
        (aside / "weights").write_text("new")
    assert (target / "weights").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_file_is_replaced_only_by_a_complete_one(tmp_path):
    target = tmp_path / "metrics.json"
    target.write_text("old")
    with pytest.raises(OSError, match="full"), replace_file(target) as aside:
        aside.write_text("ne")
        raise OSError("disk full")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def sharded(key, count, fails_at=None, calls=None):
    """A part of `count` shards of three rows, whose making may fail."""

    def make(done):
        for number in range(len(done), count):
            if number == fails_at:
                raise RuntimeError("power cut")
            if calls is not None:
                calls.append((key, number))
            yield pa.Table.from_pylist(rows(3, 3 * number), schema=SCORES)

    return ShardedPart(key, make)


def test_finished_shards_are_kept_and_the_next_write_goes_on(tmp_path):
    calls = []
    with pytest.raises(RuntimeError, match="power cut"):
        write_table(tmp_path, SCORES, {"a": sharded("1", 5, 3, calls)})
    assert store.Table(tmp_path, SCORES).parts() == []
    table = write_table(tmp_path, SCORES, {"a": sharded("1", 5, calls=calls)})
    assert calls == [("1", number) for number in range(5)]
    assert [row["query_id"] for row in table.iter_rows()] == [str(i) for i in range(15)]
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["manifest.json", *(f"part-{n:05d}.parquet" for n in range(5))]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_shards_of_another_key_are_not_taken(tmp_path):
    calls = []
    with pytest.raises(RuntimeError, match="power cut"):
        write_table(tmp_path, SCORES, {"a": sharded("1", 5, 3)})
    assert write_table(tmp_path, SCORES, {"a": sharded("2", 2, calls=calls)}).rows() == 6
    assert calls == [("2", 0), ("2", 1)]


def test_shards_of_a_part_that_is_no_longer_wanted_go(tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        write_table(tmp_path, SCORES, {"a": sharded("1", 5, 3)})
    write_table(tmp_path, SCORES, {"b": sharded("1", 1)})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_part_killed_before_its_new_name_is_renamed(tmp_path, monkeypatch):
    def killed(aside, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "move_dir", killed)
    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path, SCORES, {"a": sharded("1", 2)})
    monkeypatch.undo()
    assert write_table(tmp_path, SCORES, {"a": sharded("1", 2, fails_at=0)}).rows() == 6


def test_a_part_killed_beside_its_manifest_keeps_nothing_else(tmp_path, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_tidy", killed)
    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path, SCORES, {"a": sharded("1", 2)})
    monkeypatch.undo()
    write_table(tmp_path, SCORES, {"a": sharded("1", 2, fails_at=0)})
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["manifest.json"] + [
        f"part-0000{number}.parquet" for number in range(2)
    ]


def test_a_sharded_part_without_rows_is_a_part(tmp_path):
    assert write_table(tmp_path, SCORES, {"a": sharded("1", 0)}).read(["a"]).schema.equals(SCORES)


def test_a_digest_is_that_of_the_rows_as_one_arrow_stream_however_they_were_cut():
    nested = {"n": [[1, 2], [], None, [3]], "t": ["山", None, "", "川の流れ"], "b": [True, False, None, True]}
    whole = pa.table(nested)
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, whole.schema) as writer:
        writer.write_table(whole)
    expected = hashlib.blake2b(stream.getvalue(), digest_size=16).hexdigest()
    assert store.digest_rows(whole) == expected
    assert store.digest_rows(pa.concat_tables([whole.slice(0, 1), whole.slice(1)])) == expected
    assert store.digest_rows(whole.slice(1)) != expected


def test_progress_counts_what_is_done_and_what_is_left(tmp_path, monkeypatch):
    bars = []

    class Bar(store.tqdm):
        def __init__(self, **settings):
            super().__init__(**settings | {"disable": False, "file": io.StringIO()})
            bars.append(self)

    with pytest.raises(RuntimeError, match="power cut"):
        write_table(tmp_path, SCORES, {"a": sharded("1", 5, 3)})
    monkeypatch.setattr(store, "tqdm", Bar)
    write_table(tmp_path, SCORES, {"a": replace(sharded("1", 5), total=lambda: 5), "b": sharded("1", 2)})
    assert [(bar.initial, bar.n, bar.total) for bar in bars] == [(3, 5, 5), (0, 2, None)]
    assert bars[0].desc.startswith(f"{tmp_path.name} a") and "6 rows" in bars[0].postfix
