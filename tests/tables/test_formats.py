"""The same rows from every form of file, and one error with file and row for each way a form can be broken."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruri_kedro.errors import DataError
from ruri_kedro.tables.formats import read_records
from ruri_kedro.tables.raw import raw_files

ROWS = [{"id": "1", "text": "山は高い。"}, {"id": "2", "text": '"川"は, 長い。'}, {"id": "3", "text": "#3"}]


def as_csv(rows, **dialect) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), **dialect)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, row_group_size=2)
    return out.getvalue()


FORMS = {
    "rows.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode(),
    "rows.json": json.dumps(ROWS, ensure_ascii=False, indent=1).encode(),
    "line.json": json.dumps(ROWS).encode(),
    "lines.json": "\n".join(map(json.dumps, ROWS)).encode(),
    "rows.csv": as_csv(ROWS),
    "marked.csv": b"\xef\xbb\xbf" + as_csv(ROWS),
    "rows.tsv": "id\ttext\n1\t山は高い。\n2\t\"川\"は, 長い。\n3\t#3\n".encode(),
    "rows.parquet": as_parquet(ROWS),
    "wiki_00": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(tmp_path, name, packed):
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(FORMS[name], mtime=0) if packed else FORMS[name])
    assert [row for _, row in read_records(path)] == ROWS


def test_a_text_file_has_a_row_per_line_that_is_not_blank(tmp_path):
    path = tmp_path / "rows.txt.gz"
    path.write_bytes(gzip.compress("一つ目。\r\n\n二つ目。".encode(), mtime=0))
    assert list(read_records(path)) == [(1, {"text": "一つ目。"}), (3, {"text": "二つ目。"})]


def test_a_document_is_one_row_and_an_empty_file_none(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text('{\n "data": [\n  {"title": "山"}\n ]\n}')
    assert list(read_records(path)) == [(1, {"data": [{"title": "山"}]})]
    path.write_text("\n")
    assert list(read_records(path)) == []


def test_columns_without_a_name_are_named(tmp_path):
    path = tmp_path / "collection.tsv"
    path.write_text('0\t"山\n1\t川\n')
    assert [row for _, row in read_records(path, header=("docid", "text"))] == [
        {"docid": "0", "text": '"山'},
        {"docid": "1", "text": "川"},
    ]


def test_only_the_wanted_columns_of_parquet_are_read(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(FORMS["rows.parquet"])
    assert [row for _, row in read_records(path, {"id", "nothing"})] == [{"id": row["id"]} for row in ROWS]
    assert [row for _, row in read_records(path, {"nothing"})] == [{}, {}, {}]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(min_size=1, max_size=8)), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_a_csv_writer_wrote_is_read_back(tmp_path, rows):
    # A line feed apart, csv does not tell line ends apart; and UTF-8 has no lone surrogates.
    clean = [tuple(c.replace("\r", "").encode(errors="ignore").decode() for c in row) for row in rows]
    table = [{"a": a, "b": b} for a, b in clean]
    path = tmp_path / "rows.csv"
    path.write_bytes(as_csv(table, quoting=csv.QUOTE_ALL))
    assert [row for _, row in read_records(path)] == table


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"id,text\n1,a\n2,b,c\n", r"row 3: 3 fields where the header has 2 \(id, text\)"),
        ("rows.csv", b'id,text\n1,"a\n2,b\n', r"row \d: not CSV \(unexpected end of data\)"),
        ("rows.tsv", b"id\ttext\n1\n", r"row 2: 1 fields where the header has 2"),
        ("rows.tsv", b"id\ttext\n1\t\xff\n", r"row 2: byte \d+ is not UTF-8"),
        ("rows.txt", "山\n".encode() + b"\xe5\x9c\n", r"row 2: byte \d+ is not UTF-8"),
        ("rows.json", b'{"a": 1}\n{"a": \n', r"row 2: not JSON"),
        ("rows.json", b'[{"a": 1}, 2]', r"row 2: a int where a JSON object is expected"),
        ("rows.parquet", b"id,text\n", r"after row 0: no Parquet file, or a broken one"),
        ("rows.parquet", FORMS["rows.parquet"][:-40], r"after row 0: no Parquet file, or a broken one"),
        ("rows.csv.gz", b"id,text\n", r"after row 0: the gzip stream is broken"),
        ("rows.parquet.gz", gzip.compress(FORMS["rows.parquet"], mtime=0)[:-9], r"the gzip stream is broken"),
        (
            "rows.jsonl.gz",
            gzip.compress(FORMS["rows.jsonl"] * 99, mtime=0)[:-9],
            r"after row \d+: the gzip stream is broken",
        ),
    ],
)
def test_a_broken_file_is_named_with_its_row(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        list(read_records(path))
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for name in ("rows.jsonl", "rows.parquet"):
        with pytest.raises(DataError, match=f"{name}: no such file"):
            list(read_records(tmp_path / name))


def test_a_pattern_names_files_in_order_and_a_folder_its_data_files(tmp_path):
    for name in ("b/wiki_01", "b/wiki_00", "a/wiki_02", "a/LICENSE.txt", "a/x.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in raw_files(tmp_path, "*/wiki_*")]
    assert found == ["a/wiki_02", "b/wiki_00", "b/wiki_01"]
    assert [path.name for path in raw_files(tmp_path, "a")] == ["x.parquet"]
    with pytest.raises(DataError, match="no file fits this pattern"):
        raw_files(tmp_path, "c/*")
