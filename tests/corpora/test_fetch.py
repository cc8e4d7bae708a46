"""Published corpora become rows; what is broken, missing or half fetched is said or fetched again."""

import gzip
import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import raw_forms
from file_server import FileServer, Reply

from ruri_kedro.corpora.fetch import download as downloading
from ruri_kedro.corpora.fetch.__main__ import main
from ruri_kedro.corpora.fetch.convert import CONVERTERS, join_words
from ruri_kedro.corpora.fetch.fetch import Output, fetch, read_spec
from ruri_kedro.errors import DataError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "ja"

QA = {
    "qid": "tr-000-00-000", "question": "山はどこ?", "answers": ["北", "北の国"], "answer_starts": [3, 3],
    "context": "山は\n北の国", "title": "山", "context_id": "tr-000-00", "question_type": "Reasoning",
}  # fmt: skip
JSQUAD = {**{key: QA[key] for key in list(QA)[:-1]}, "qid": "a1p0q0", "context_id": "a1p0"}
JSTS = {"id": "0", "text1": "犬がいる。", "text2": "猫がいる。", "score": 2.4, "yjcaptions_id": "1-2-3"}
JANLI = {
    "id": "7", "premise": "学生が走る", "hypothesis": "走る", "label": "entailment", "heuristics": "overlap-full",
    "number_of_NPs": 2, "semtag": "scrambling", "split": "train",
}  # fmt: skip
JRTE = {
    "id": "rte1", "premise": "静かです。", "hypothesis": "静か。", "label": "non-entailment", "part": "lrec2020_me",
    "split": "dev",
}  # fmt: skip
JSICK = {
    "pair_id": "4", "sentence_A_Ja": "犬が走る", "sentence_B_Ja": "犬がいる", "relatedness": 3.7,
    "entailment_label": "neutral", "source_split": "trial",
}  # fmt: skip
COUNTERFACTUAL = {"text": '""もし"" 軽ければ良い。', "label": 1}
LIVEDOOR = {
    "docid": "smax-1", "title": "　新しい電話", "text": "　本文。\n\n続き。\n", "label": "smax",
    "url": "http://news.example.org/1/", "date": "2010-06-10T16:40:00+0900",
}  # fmt: skip
LEADS = {"docid": "wiki00010002", "text": "山は山。川は川。", "sentences": ["山は山。", "川は川。"]}
ARTICLE = {"docid": "0", "title": "", "text": "大きな山が北にある。"}
HEADLINE = {"qid": "0", "query": "北の山", "positives": ["0"]}


@pytest.fixture
def server():
    made = FileServer()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloading, "_WAIT", 0.0)


def serve(server, output: Output, files: list[bytes]) -> None:
    for url, content in zip(output.urls, files, strict=True):
        server.files[f"/{url.removeprefix('https://')}"] = content


def digest(rows: list[dict]) -> str:
    return hashlib.sha256("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()).hexdigest()


def stored(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def janli_output(rows: list[dict]) -> Output:
    return Output("janli/janli.jsonl.gz", "CC", "o/janli", "c0", "janli", len(rows), digest(rows), ("janli.tsv",))


@pytest.mark.parametrize(
    ("converter", "path", "raw", "expected"),
    [
        ("jaquad", "x.json", raw_forms.squad([QA]), QA),
        ("jsquad", "x.json", raw_forms.squad([JSQUAD]), JSQUAD),
        ("jsts", "x.json", raw_forms.jsts([JSTS]), JSTS),
        ("janli", "janli.tsv", raw_forms.janli([JANLI]), JANLI),
        ("jrte", "data/rte.lrec2020_me.tsv", raw_forms.jrte([JRTE]), JRTE),
        ("jsick_train", "jsick.tsv", raw_forms.jsick([JSICK, {**JSICK, "source_split": "test"}]), JSICK),
        ("jsick", "test.tsv", raw_forms.jsick([JSICK]), JSICK),
        ("counterfactual", "JP_test.tsv", raw_forms.counterfactual([COUNTERFACTUAL]), COUNTERFACTUAL),
    ],
)
def test_text_files_become_rows(converter, path, raw, expected):
    (row,) = CONVERTERS[converter]([(path, raw.decode())])
    assert row == expected and list(row) == list(expected)


@pytest.mark.parametrize(
    ("converter", "pattern", "raw", "expected"),
    [
        ("livedoor", "experiments/text/*/*.txt", raw_forms.livedoor([LIVEDOOR]), LIVEDOOR),
        ("wikipedia_leads", "org/*/*.org", raw_forms.wikipedia([LEADS]), LEADS),
    ],
)
def test_archives_become_rows(tmp_path, converter, pattern, raw, expected):
    (tmp_path / "a").write_bytes(raw)
    (row,) = CONVERTERS[converter](downloading.files_of_archive(tmp_path / "a", pattern))
    assert row == expected and list(row) == list(expected)


@pytest.mark.parametrize("header", ["", "article\theadline\n"])
def test_headline_pairs_become_queries_and_corpus(header):
    text = header + gzip.decompress(raw_forms.wikinews([ARTICLE], [HEADLINE])).decode()
    assert list(CONVERTERS["wikinews_corpus"]([("x", text)])) == [ARTICLE]
    assert list(CONVERTERS["wikinews_queries"]([("x", text)])) == [HEADLINE]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("大きな 山 が", "大きな山が"),
        ("asahi . com 『 山 』", "asahi. com『山』"),
        ("( UTC + 9 ) 、 M 7 . 1", "(UTC + 9)、M 7.1"),
        ("毎日 jp ( 共同 )", "毎日jp (共同)"),
    ],
)
def test_words_are_joined_as_they_are_written(words, text):
    assert join_words(words.split()) == text


def test_what_is_there_is_not_fetched_again(server, tmp_path, capsys):
    output = janli_output([JANLI])
    serve(server, output, [raw_forms.janli([JANLI])])
    fetch([output], tmp_path, server.url)
    first = (tmp_path / output.path).read_bytes()
    fetch([output], tmp_path, server.url)
    assert server.asked == ["/raw.githubusercontent.com/o/janli/c0/janli.tsv"]
    assert capsys.readouterr().out == ("janli/janli.jsonl.gz: 1 rows (CC, o/janli)\njanli/janli.jsonl.gz: there (CC)\n")
    (tmp_path / output.path).write_bytes(first[:-5])  # a file that was cut is made again, to the same bytes
    fetch([output], tmp_path, server.url)
    assert (tmp_path / output.path).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["janli"]


def test_a_fetch_that_stopped_goes_on(server, tmp_path):
    first, second = janli_output([JANLI]), replace(janli_output([JANLI]), path="b/b.jsonl.gz", files=("b.tsv", "c.tsv"))
    second = replace(second, rows=2, sha256=digest([JANLI, JANLI]))
    serve(server, first, [raw_forms.janli([JANLI])])
    serve(server, second, [raw_forms.janli([JANLI]), 503])
    with pytest.raises(DataError, match=r"b: http.*/c\.tsv: HTTP 503.*kept"):
        fetch([first, second], tmp_path, server.url)
    assert server.asked.count("/raw.githubusercontent.com/o/janli/c0/c.tsv") == 3
    serve(server, second, [b"gone", raw_forms.janli([JANLI])])
    server.asked.clear()
    fetch([first, second], tmp_path, server.url)
    assert server.asked == ["/raw.githubusercontent.com/o/janli/c0/c.tsv"]
    assert stored(tmp_path / "b/b.jsonl.gz") == [JANLI, JANLI]


def test_a_file_that_has_gone_is_named(server, tmp_path):
    with pytest.raises(DataError, match=r"^janli: http://127.*janli\.tsv: HTTP 404 .*--base-url"):
        fetch([janli_output([JANLI])], tmp_path, server.url)
    assert len(server.asked) == 1


def test_no_network_is_said(tmp_path):
    with pytest.raises(DataError, match=r"^janli: http://127.0.0.1:9/.* cannot be fetched .*Check the network"):
        fetch([janli_output([JANLI])], tmp_path, "http://127.0.0.1:9")


BROKEN_OFF = {
    "short": lambda body: Reply(body[:20], announced=len(body)),
    "chunks without an end": lambda body: Reply(body[:20], chunked=True),
    "nothing": lambda body: Reply(b"", announced=len(body)),
    "too many requests": lambda body: 429,
    "server error": lambda body: 500,
}


@pytest.mark.parametrize("kind", BROKEN_OFF)
def test_an_answer_that_breaks_off_is_asked_for_again(server, tmp_path, kind):
    output, body = janli_output([JANLI]), raw_forms.janli([JANLI])
    serve(server, output, [lambda times: BROKEN_OFF[kind](body) if times < 2 else body])
    fetch([output], tmp_path, server.url)
    assert stored(tmp_path / output.path) == [JANLI] and len(server.asked) == 3


@pytest.mark.parametrize("kind", BROKEN_OFF)
def test_an_answer_that_always_breaks_off_is_one_error_and_leaves_no_file(server, tmp_path, kind):
    output, body = janli_output([JANLI]), raw_forms.janli([JANLI])
    serve(server, output, [lambda times: BROKEN_OFF[kind](body)])
    with pytest.raises(DataError, match=r"^janli: http://127.*janli\.tsv.* (cannot be fetched|HTTP 429|HTTP 500)"):
        fetch([output], tmp_path, server.url)
    assert len(server.asked) == 3 and not [path for path in tmp_path.rglob("*") if path.is_file()]


def livedoor_output() -> Output:
    return replace(
        janli_output([LIVEDOOR]), path="livedoor/livedoor.jsonl.gz", converter="livedoor", files=(),
        members="experiments/text/*/*.txt",
    )  # fmt: skip


def packed_output() -> Output:
    made = replace(janli_output([ARTICLE]), path="wikinews/corpus.jsonl.gz", converter="wikinews_corpus")
    return replace(made, files=("x.tsv.gz",))


PAGE = b"<html><body>log in first</body></html>"
PACKED_PAGE = gzip.compress(PAGE, mtime=0)
PACKED, ARCHIVE = raw_forms.wikinews([ARTICLE], [HEADLINE]), raw_forms.livedoor([LIVEDOOR])
FLIPPED = PACKED[:30] + bytes([PACKED[30] ^ 255]) + PACKED[31:]


@pytest.mark.parametrize(
    ("output", "good", "bad"),
    [
        *((packed_output(), PACKED, bad) for bad in (FLIPPED, PACKED[:-9], PACKED[:40], b"\x1f\x8b\x08" + b"x" * 40)),
        *((packed_output(), PACKED, bad) for bad in (PAGE, b"", b"\x00" * 100, gzip.compress(b"\xff\xfe", mtime=0))),
        *((livedoor_output(), ARCHIVE, bad) for bad in (PAGE, b"", ARCHIVE[:200], ARCHIVE[:-99], PACKED_PAGE)),
        *((janli_output([JANLI]), raw_forms.janli([JANLI]), bad) for bad in (PAGE, b"", b"\xff\xfe\x00", b"a\tb\nc\n")),
    ],
    ids=map(str, range(16)),  # archives have the time in them, and names of tests are the same in all processes
)  # fmt: skip
def test_a_bad_download_is_named_and_dropped_and_the_others_are_kept(server, tmp_path, output, good, bad):
    other = replace(janli_output([JANLI, JANLI]), path="b/b.jsonl.gz", files=("b.tsv", "c.tsv"))
    serve(server, other, [raw_forms.janli([JANLI]), 503])
    serve(server, output, [bad])
    with pytest.raises(DataError, match=r"b: .*HTTP 503"):
        fetch([other], tmp_path, server.url)
    with pytest.raises(DataError, match=rf"^{output.corpus}: http://127.*(not in the form expected|rows came)"):
        fetch([output], tmp_path, server.url)
    serve(server, output, [good])
    serve(server, other, [500, raw_forms.janli([JANLI])])
    fetch([output, other], tmp_path, server.url)
    assert stored(tmp_path / output.path) and stored(tmp_path / other.path) == [JANLI, JANLI]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


COMMAND = """
import sys
from pathlib import Path
from ruri_kedro.corpora.fetch import fetch
fetch._HERE = Path(sys.argv.pop(1))
from ruri_kedro.corpora.fetch.__main__ import main
sys.exit(main())
"""


def toy_recipe(server, folder: Path, delay: float) -> dict[str, bytes]:
    """Write toy.toml, of three outputs with five downloads that come slowly; the files that a fetch makes."""
    outputs, rows = [], {}
    for name, files in (("one", ("a.tsv",)), ("two", ("b.tsv", "c.tsv", "d.tsv")), ("three", ("e.tsv",))):
        made = {file: [JANLI | {"id": f"{file}{n}"} for n in range(60)] for file in files}
        rows[name] = [row for part in made.values() for row in part]
        output = replace(
            janli_output(rows[name]), path=f"{name}/{name}.jsonl.gz", files=files, sha256=digest(rows[name]),
            commit="c" * 40,
        )  # fmt: skip
        outputs.append(output)
        serve(server, output, [Reply(raw_forms.janli(part), delay=delay) for part in made.values()])
    tables = (
        "[[output]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in vars(output).items() if value)
        for output in outputs
    )
    (folder / "toy.toml").write_text("\n".join(tables), encoding="utf-8")
    fetch(outputs, folder / "whole", server.url)
    server.asked.clear()
    return contents(folder / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder, hidden ones among them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start(server, folder: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-c",
        COMMAND,
        str(folder),
        "toy",
        "--out",
        str(folder / "cut"),
        "--base-url",
        server.url,
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def kill(process: subprocess.Popen, folder: Path, whole: dict[str, bytes]) -> None:
    """Kill a fetch; what stands under a name that is not hidden is whole."""
    process.kill()
    process.wait(timeout=60)
    found = contents(folder / "cut") if (folder / "cut").exists() else {}
    assert all(whole[name] == data for name, data in found.items() if "/." not in name and name[0] != ".")


def test_a_killed_fetch_goes_on_to_the_same_files(server, tmp_path):
    whole = toy_recipe(server, tmp_path, delay=0.01)
    process = start(server, tmp_path)
    while len(server.asked) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    kill(process, tmp_path, whole)
    asked = server.asked.copy()
    assert start(server, tmp_path).wait(timeout=60) == 0
    assert contents(tmp_path / "cut") == whole
    assert asked[0] not in server.asked[len(asked) :] and asked[1] not in server.asked[len(asked) :]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_ten_kills_at_random_moments_come_to_the_same_files(server, tmp_path, seed):
    whole = toy_recipe(server, tmp_path, delay=0.05)
    began = time.monotonic()
    assert start(server, tmp_path).wait(timeout=60) == 0
    seconds = time.monotonic() - began
    shutil.rmtree(tmp_path / "cut")
    moments = random.Random(seed)
    for _ in range(10):
        process = start(server, tmp_path)
        time.sleep(moments.uniform(0.2, 1) * seconds)
        kill(process, tmp_path, whole)
    assert start(server, tmp_path).wait(timeout=60) == 0
    assert contents(tmp_path / "cut") == whole


def test_other_rows_are_refused_unless_accepted(server, tmp_path, capsys):
    output = janli_output([JANLI, JANLI])
    serve(server, output, [raw_forms.janli([JANLI])])
    with pytest.raises(DataError, match=r"^janli: .*1 rows came, not the 2 known ones.*--accept-changes --only janli"):
        fetch([output], tmp_path, server.url)
    assert not (tmp_path / output.path).exists()
    fetch([output], tmp_path, server.url, accept_changes=True)
    assert stored(tmp_path / output.path) == [JANLI]
    assert "taken as they are" in capsys.readouterr().out


def test_another_form_is_refused(server, tmp_path):
    output = janli_output([JANLI])
    serve(server, output, [b"<html>log in first</html>\nhello\tworld"])
    with pytest.raises(DataError, match=r"^janli: .*not in the form expected"):
        fetch([output], tmp_path, server.url)


def test_the_command_says_one_line(server, tmp_path, capsys):
    assert main(["mini", "--out", str(tmp_path), "--only", "nix"]) == 1
    assert capsys.readouterr().err.startswith("error: there is no set 'nix'. There are: amazon_counterfactual, ")
    assert main(["mini", "--out", str(tmp_path), "--only", "janli", "--base-url", server.url]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_every_output_of_mini_is_pinned():
    for output in read_spec("mini"):
        assert len(output.commit) == 40 and len(output.sha256) == 64 and output.licence
        assert output.converter in CONVERTERS and (output.files or output.members)


@pytest.mark.long
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the evaluation data beside the repository")
def test_mini_is_fetched_as_it_is_known(server, tmp_path, capsys):
    """The published forms, written back from the known rows, give the known rows."""
    makers = {
        "jaquad": raw_forms.squad, "jsquad": raw_forms.squad, "jsts": raw_forms.jsts, "jnli": raw_forms.jsts,
        "janli": raw_forms.janli,
        "jsick": raw_forms.jsick, "jsick_train": raw_forms.jsick, "counterfactual": raw_forms.counterfactual,
        "livedoor": raw_forms.livedoor, "wikipedia_leads": raw_forms.wikipedia,
    }  # fmt: skip
    for output in read_spec("mini"):
        rows = stored(SHARED / output.path)
        if output.converter.startswith("wikinews"):
            folder = SHARED / "wikinews_headline"
            pair = stored(folder / "corpus.jsonl.gz"), stored(folder / "queries.jsonl.gz")
            serve(server, output, [raw_forms.wikinews(*pair)])
        elif output.converter == "jrte":
            parts = [file.removeprefix("data/rte.").removesuffix(".tsv") for file in output.files]
            serve(server, output, [raw_forms.jrte(r for r in rows if r["part"] == part) for part in parts])
        else:
            rest = [b'{"data": []}'] * (len(output.urls) - 1)
            serve(server, output, [makers[output.converter](rows), *rest])
    assert main(["mini", "--out", str(tmp_path), "--base-url", server.url]) == 0, capsys.readouterr().err
    path = "jsquad/valid.jsonl.gz"  # the others are compared by their digest
    assert stored(tmp_path / path) == stored(SHARED / path)
