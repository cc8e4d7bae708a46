"""Files as other programs and people leave them: read as they are meant, or refused with file, row and remedy."""

import bz2
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.errors import DataError
from ruri_kedro.tables.formats import parse_json, read_records
from ruri_kedro.tables.raw import check_type, raw_files

ROW = {"question": "高さは？", "answer": "標高です。"}
CSV = "question,answer\n高さは？,標高です。\n"
FORMS = {
    "FAQ.CSV": CSV.encode(),
    "Faq.Tsv": CSV.replace(",", "\t").encode(),
    "FAQ.JSONL": json.dumps(ROW).encode(),
    "faq.NDJSON": json.dumps(ROW).encode(),
    "FAQ.JSON": json.dumps([ROW], indent=1).encode(),
    "FAQ.CSV.GZ": gzip.compress(CSV.encode(), mtime=0),
    # Gzipped, though the name does not say so.
    "faq.csv": gzip.compress(CSV.encode(), mtime=0),
    "faq.jsonl": gzip.compress(json.dumps(ROW).encode(), mtime=0),
    "wiki_00": gzip.compress(json.dumps(ROW).encode(), mtime=0),
    "part.001": json.dumps(ROW).encode(),
    "marked.json": b"\xef\xbb\xbf" + json.dumps(ROW).encode(),
    "marked.tsv": b"\xef\xbb\xbf" + CSV.replace(",", "\t").encode(),
}


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def records(folder, name: str, content: bytes) -> list:
    (folder / name).write_bytes(content)
    return list(read_records(folder / name))


def refused(folder, name: str, content: bytes) -> str:
    with pytest.raises(DataError) as error:
        records(folder, name, content)
    assert str(folder / name) in str(error.value)
    return str(error.value).replace(str(folder), "")


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_known_by_its_ending_in_any_case_and_gzip_by_its_bytes(tmp_path, name):
    assert [row for _, row in records(tmp_path, name, FORMS[name])] == [ROW]


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_is_known_by_its_bytes_too(tmp_path, packed):
    data = parquet(pa.Table.from_pylist([ROW]))
    for name in ("FAQ.PARQUET", "FAQ.parquet.gz"):
        assert records(tmp_path, name, gzip.compress(data, mtime=0) if packed else data) == [(1, ROW)]


@pytest.mark.parametrize("ending", [".xlsx", ".zst", ".zip", ".jsonl.zst", ".tar.gz", ".jsonl.bz2", ".XLS", ".arrow"])
def test_an_unknown_ending_is_named_with_those_that_are_read(tmp_path, ending):
    said = refused(tmp_path, f"faq{ending}", b"anything")
    named = ending.lower().removesuffix(".gz").rpartition(".")[2]
    assert f"ending '.{named}' are not read. Convert or unpack it to one of .jsonl" in said and ".gz" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "a zip archive or an office document. Unpack it, or save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document. Save it as CSV"),
        (b"\x28\xb5\x2f\xfdrest", "packed by zstd. Unpack it"),
        (bz2.compress(b"{}"), "packed by bzip2. Unpack it"),
        (lzma.compress(b"{}"), "packed by xz. Unpack it"),
        (parquet(pa.Table.from_pylist([ROW])), "a Parquet file. Name it .parquet"),
        (b"%PDF-1.7", "a PDF"),
    ],
)
def test_what_is_not_text_is_named_whatever_its_name_says(tmp_path, content, message):
    for name in ("faq.csv", "faq.jsonl", "faq"):
        assert f"/{name}: this is {message}" in refused(tmp_path, name, content)


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        (CSV, "cp932", "CP932"), (CSV, "euc_jp", "EUC-JP"), (CSV, "utf-16", "UTF-16"), ("年\n", "cp932", "CP932"),
        ("question\n標高\n", "euc_jp", "EUC-JP"), ("question\nﾃｽﾄの文\n" * 9000, "cp932", "CP932"),
    ],
)  # fmt: skip
def test_the_remedy_names_the_encoding(tmp_path, text, encoding, guess):
    said = refused(tmp_path, "faq.csv", text.encode(encoding))
    assert f"is not UTF-8. It looks like {guess}. Convert the file: iconv -f {guess} -t UTF-8." in said


def test_an_encoding_that_cannot_be_guessed_is_left_open(tmp_path):
    said = refused(tmp_path, "faq.csv", b"question\ncaf\xe9\n\xff\xff\n")
    assert "row 2: byte 3 is not UTF-8. Convert the file: iconv -f ENCODING -t UTF-8" in said


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (b'q,a\n1,"open\n2,b\n3,c\n', 2),
        (b'q,a\n1,"two\nlines"\n4,"open\n5,b\n', 4),
        (b'q,a\n1,a\n2,"open\n3,b\n4,"again"\n', 3),
        (b'"open,a\n1,a\n', 1),
    ],
)
def test_the_row_of_an_open_quotation_mark_is_named(tmp_path, content, row):
    assert f"/faq.csv, row {row}: not CSV" in refused(tmp_path, "faq.csv", content)
    assert "a quotation mark that opens in this row is not closed" in refused(tmp_path, "faq.csv", content)


NESTED = pa.StructArray.from_arrays([pa.array(["古"]), pa.array(["新"])], names=["text", "text"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.csv", b"q,a,a\n1,2,3\n", "row 1: column 'a' stands twice in the header"),
        ("f.tsv", b"q\tq\ta\n1\t2\t3\n", "row 1: column 'q' stands twice in the header"),
        ("f.csv.gz", gzip.compress(b"a,a\n1,2\n", mtime=0), "row 1: column 'a' stands twice in the header"),
        ("f.jsonl", b'{"a": 1}\n{"a": 1, "a": 2}\n', "row 2: the key 'a' stands twice in an object"),
        ("f.jsonl", b'{"a": [{"b": {"c": 1, "c": 1}}]}\n', "row 1: the key 'c' stands twice in an object"),
        ("f.json", b'{"a": 1, "a": 2}', "row 1: the key 'a' stands twice in an object"),
        ("f.json", b'[{"a": 1},\n {"b": 1,\n "b": 2}]', "row 1: the key 'b' stands twice in an object"),
        ("wiki_00", b'{"a": 1, "a": 2}', "row 1: the key 'a' stands twice in an object"),
        ("f.parquet", parquet(pa.table([["古"], ["新"]], names=["a", "a"])), "column 'a' stands twice"),
        ("f.parquet", parquet(pa.table({"a": NESTED})), "column 'a.text' stands twice"),
        ("f.parquet", parquet(pa.table({"a": pa.ListArray.from_arrays([0, 1], NESTED)})), "column 'a.text' stands"),
    ],
)
def test_a_name_that_stands_twice_is_an_error_in_every_form(tmp_path, name, content, message):
    assert f"/{name}{', ' if message.startswith('row') else ': '}{message}" in refused(tmp_path, name, content)


def test_columns_without_a_name_are_left_out(tmp_path):
    assert records(tmp_path, "f.csv", b",a,,\n0,x,y,z\n") == [(2, {"a": "x"})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 100_000, "row 1: nested too deeply"),
        ('{"a": ' * 50_000, "row 1: nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "row 1: Exceeds the limit"),
    ],
)
def test_json_that_python_cannot_hold_is_one_error(tmp_path, line, message):
    for name in ("f.jsonl", "f.json"):
        assert f"/{name}, {message}" in refused(tmp_path, name, line.encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_json_without_a_name_twice_is_read_as_python_reads_it(value):
    text = json.dumps(value)
    assert parse_json(text) == json.loads(text)


def test_hidden_files_are_left_out_of_folders_and_patterns(tmp_path):
    for name in ("d/a.jsonl", "d/._a.jsonl", "d/.b.jsonl", "d/C.CSV", "d/.cache/x.jsonl", ".snapshot/y.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    for path, found in {
        "d": ["C.CSV", "a.jsonl"],
        "d/*": ["C.CSV", "a.jsonl"],
        "**/*.jsonl": ["a.jsonl"],
        ".snapshot/*": ["y.jsonl"],  # the pattern says so
        "d/.b.jsonl": [".b.jsonl"],
    }.items():
        assert [file.name for file in raw_files(tmp_path, path)] == found, path
    (tmp_path / "e").mkdir()
    (tmp_path / "e/faq.xlsx").touch()
    with pytest.raises(DataError, match=r"no raw file in this folder\. Expected one of \*\.jsonl.*it has: faq\.xlsx"):
        raw_files(tmp_path, "e")


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1.5", (int, float), 1.5), (" 3 ", (int, float), 3), ("-1e-3", (int, float), -0.001), (".5", (float,), 0.5),
        ("3.0", (int,), 3), ("+2", (int,), 2), ("TRUE", (bool,), True), ("false", (bool,), False),
        ("1", (str, int), "1"), ("", (int, type(None)), None),
    ],
)  # fmt: skip
def test_text_that_is_a_number_is_read_as_one_where_a_number_is_wanted(tmp_path, text, kind, value):
    for name in ("f.csv", "f.TSV.gz"):
        found = check_type(tmp_path / name, 1, "n", text, kind)
        assert found == value and type(found) is type(value)
    if str not in kind:
        with pytest.raises(DataError, match=r"f\.jsonl, row 1, field 'n': str given"):
            check_type(tmp_path / "f.jsonl", 1, "n", text, kind)


@pytest.mark.parametrize("text", ["", "nan", "inf", "-Infinity", "1_000", "１２", "1,5", "0x1f", "three", "1e999"])
def test_other_text_is_not_a_number(tmp_path, text):
    with pytest.raises(DataError, match=r"f\.csv, row 7, field 'n': .* (given|is not a finite number)"):
        check_type(tmp_path / "f.csv", 7, "n", text, (int, float))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
def test_what_is_not_finite_is_not_a_number_in_any_form(tmp_path, value):
    with pytest.raises(DataError, match=r"f\.parquet, row 1, field 'n': .* is not a finite number"):
        check_type(tmp_path / "f.parquet", 1, "n", value, (int, float))
