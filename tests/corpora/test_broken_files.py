"""Twenty ways in which a raw file can be broken: one error with file, row, field and remedy; other sources stay."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ruri_kedro.corpora.build import pair_parts
from ruri_kedro.corpora.rows import check_sources
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.errors import DataError
from ruri_kedro.tables import SCHEMAS, write_table

ROW = {"text1": "山は高い。", "text2": "川は長い。"}
ROWS = [{name: f"{number}の{text}" for name, text in ROW.items()} for number in range(3)]


def lines(*rows):
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


MAP, CORRECT, AGAIN = r"Name the right one under `fields`", r"Correct the row", r"Fetch it again"
CSV, TSV = "text1,text2\n甲,乙\n", "text1\ttext2\n甲\t乙\n"
JSONL, PACKED, PARQUET = lines(*ROWS), gzip.compress(lines(*ROWS) * 99, mtime=0), parquet(ROWS)

# Name, whole content, broken content (None: no file), what the error says behind the name of the file.
BROKEN = {
    "field missing": ("x.jsonl", JSONL, lines(ROW, {"text1": "甲"}), rf"row 2, field 'text2': missing.*{MAP}"),
    "number for a text": ("x.jsonl", JSONL, lines(ROW, ROW | {"text2": 3}), rf"row 2, field 'text2': int.*{CORRECT}"),
    "null for a text": ("x.jsonl", JSONL, lines(ROW, ROW | {"text1": None}), r"row 2, field 'text1': NoneType given"),
    "list for a text": ("x.jsonl", JSONL, lines(ROW, ROW | {"text1": ["甲"]}), r"row 2, field 'text1': list given"),
    "nothing visible": ("x.jsonl", JSONL, lines(ROW, ROW | {"text1": "\u200b\u3000"}), r"row 2.*'text1': empty.*Rem"),
    "lone surrogate": ("x.jsonl", JSONL, lines(ROW, ROW | {"text1": "\ud800"}), r"row 2, field 'text1': a lone.*Rem"),
    "list for a row": ("x.jsonl", JSONL, lines(ROW, ["甲", "乙"]), r"row 2: a list where a JSON object.*Remove"),
    "line cut": ("x.jsonl", JSONL, lines(ROW, b'{"text1": "\n'), rf"row 2: not JSON.*{AGAIN}"),
    "not UTF-8": ("x.jsonl", JSONL, lines(ROW, b'{"text1": "\xff"}\n'), r"row 2: byte \d+ is not UTF-8.*iconv"),
    "no row": ("x.jsonl", JSONL, b"", r"there is no row\. Fetch the file again"),
    "no file": ("x.jsonl", JSONL, None, r"no such file or folder\. Fetch or restore"),
    "gzip cut": ("x.jsonl.gz", PACKED, PACKED[:-9], rf"after row \d+: the gzip stream is broken.*{AGAIN}"),
    "not gzip": ("x.jsonl.gz", PACKED, JSONL, rf"after row 0: the gzip stream is broken.*{AGAIN}"),
    "column too many": ("x.csv", CSV, CSV + "丙,丁,戊\n", r"row 3: 3 fields where the header has 2.*quotation mark"),
    "quotation open": ("x.csv", CSV, CSV + '"丙,丁\n', r"row \d: not CSV.*Correct it"),
    "column too few": ("x.tsv", TSV, TSV + "丙\n", r"row 3: 1 fields where the header has 2.*row was cut"),
    "Parquet cut": ("x.parquet", PARQUET, PARQUET[:-40], rf"after row 0: no Parquet file.*{AGAIN}"),
    "not Parquet": ("x.parquet", PARQUET, JSONL, rf"after row 0: no Parquet file.*{AGAIN}"),
    "column missing": ("x.parquet", PARQUET, parquet([{"text1": "甲"}]), rf"row 1, field 'text2': missing.*{MAP}"),
    "number in a list": ("x.json", json.dumps(ROWS), json.dumps([*ROWS, 7]), r"row 4: a int where a.*Remove"),
}  # fmt: skip


def test_there_are_twenty():
    assert len(BROKEN) == 20


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def build(root, name):
    """Pairs of three sources, the second from the file `name`; as data_engineering makes them."""
    rows = {
        source: {"kind": "edit", "path": path} for source, path in (("a", "a.jsonl"), ("b", name), ("c", "c.jsonl"))
    }
    sources = parse_sources(rows)
    check_sources(sources, root)
    return write_table(root / "pairs", SCHEMAS["pairs"], pair_parts(sources, root))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_one_error_and_the_other_sources_stay(tmp_path, kind):
    name, whole, broken, message = BROKEN[kind]
    for source in ("a.jsonl", "c.jsonl"):
        (tmp_path / source).write_bytes(lines(*({n: f"{source}{t}" for n, t in row.items()} for row in ROWS)))
    path = tmp_path / name
    path.write_bytes(whole if isinstance(whole, bytes) else whole.encode())
    table = build(tmp_path, name)
    assert [table.rows(source) for source in "abc"] >= [3, 1, 3]
    before = files(tmp_path / "pairs")
    path.unlink() if broken is None else path.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    with pytest.raises(DataError, match=message) as error:
        build(tmp_path, name)
    (said,) = (line for line in str(error.value).split("\n") if "cannot be read" not in line)
    assert name in said
    after = files(tmp_path / "pairs")
    assert {path: data for path, data in before.items() if path.parts[0] != "b"}.items() <= after.items()
    path.write_bytes(whole if isinstance(whole, bytes) else whole.encode())
    build(tmp_path, name)
    assert files(tmp_path / "pairs") == before
