"""Published corpora become rows; what is broken, missing or half fetched is said or fetched again."""

import gzip
import hashlib
import http.server
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import raw_forms

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
    """A server of `server.files` by path; `server.asked` holds the paths that were asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            answer = self.server.files.get(self.path, 404)
            status = answer if isinstance(answer, int) else 200
            # A pair is a body and the length that is announced: the connection breaks.
            body, length = answer if isinstance(answer, tuple) else (b"", 0) if status != 200 else (answer, len(answer))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.files, made.asked = {}, []
    made.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)


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


def test_a_connection_that_breaks_leaves_no_file(server, tmp_path):
    output = janli_output([JANLI])
    serve(server, output, [(raw_forms.janli([JANLI])[:20], 500)])
    with pytest.raises(DataError, match=r"^janli: .* cannot be fetched"):
        fetch([output], tmp_path, server.url)
    assert not (tmp_path / output.path).exists()


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


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the evaluation data beside the repository")
def test_mini_is_fetched_as_it_is_known(server, tmp_path, capsys):
    """The published forms, written back from the known rows, give the known rows."""
    makers = {
        "jaquad": raw_forms.squad, "jsquad": raw_forms.squad, "jsts": raw_forms.jsts, "janli": raw_forms.janli,
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
