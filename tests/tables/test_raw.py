"""Each kind of broken raw file is one error that names file, row and field."""

import gzip
import json

import pytest

from ruri_kedro.errors import DataError
from ruri_kedro.tables.raw import raw_files, read_rows

GOOD = {"id": "1", "text": "本文"}


def write(path, *rows):
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return path


def read(path):
    return [row for _, row in read_rows(path, {"id": str, "text": str}, unique="id", nonempty=("text",))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "2"}, r"row 2, field 'text': missing"),
        ({"id": "2", "text": 3}, r"row 2, field 'text': int given, str expected"),
        ({"id": "2", "text": None}, r"row 2, field 'text': NoneType given"),
        ({"id": "2", "text": " \u200b\u3000"}, r"row 2, field 'text': empty text"),
        ({"id": "1", "text": "別"}, r"row 2, field 'id': '1' occurs twice"),
        ([1, 2], r"row 2: a list where a JSON object"),
        (b'{"id": "2", "text": \n', r"row 2: not JSON"),
        (b'{"id": "2", "text": "\xff"}\n', r"row 2: byte \d+ is not UTF-8"),
        ({"id": "2", "text": "\ud800"}, r"row 2, field 'text': a lone surrogate"),
    ],
)
def test_a_broken_row_is_named(tmp_path, row, message):
    path = write(tmp_path / "rows.jsonl", GOOD, row)
    with pytest.raises(DataError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_blank_lines_count_as_rows_of_the_file(tmp_path):
    path = write(tmp_path / "rows.jsonl", GOOD, b"\n", {"id": "2"})
    with pytest.raises(DataError, match="row 3"):
        read(path)


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(DataError, match="the file is empty"):
        read(write(tmp_path / "rows.jsonl"))


def test_a_cut_gzip_stream_is_named(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode() * 1000)[:-20])
    with pytest.raises(DataError, match="gzip stream is broken"):
        read(path)


def test_plain_and_gzipped_files_give_the_same_rows(tmp_path):
    plain = write(tmp_path / "rows.jsonl", GOOD)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(plain) == read(packed) == [GOOD]


def test_a_path_names_a_file_or_a_folder_of_files(tmp_path):
    for name in ("b.jsonl", "a.jsonl.gz", "README.md"):
        (tmp_path / name).touch()
    assert [path.name for path in raw_files(tmp_path, ".")] == ["a.jsonl.gz", "b.jsonl"]
    assert raw_files(tmp_path, "b.jsonl") == [tmp_path / "b.jsonl"]
    with pytest.raises(DataError, match="no such file or folder"):
        raw_files(tmp_path, "c.jsonl")
