"""Whole sets, from raw articles over a real server to rows that a recipe reads."""

import json
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from chat_server import completion, failure
from cut_project import read
from synthesis_parameters import INFERENCE, QUESTIONS, parameters

from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.corpora.synthesis.build import build_set, read_reports
from ruri_kedro.corpora.synthesis.session import Session
from ruri_kedro.corpora.synthesis.settings import parse_settings
from ruri_kedro.errors import DataError, RecipeError, SynthesisError
from ruri_kedro.tables import SCHEMAS, write_table
from ruri_kedro.tables.lookup import passage_texts

FILES = ("rows.jsonl.gz", "rejects.jsonl.gz", "report.json", "manifest.json")


@pytest.fixture
def raw(tmp_path) -> Path:
    """30 articles of four paragraphs."""
    rows = [
        {
            "article_id": str(n),
            "title": f"第{n}城",
            "abstract": "城。",
            "sections": [{"section": "歴史", "paragraphs": [f"第{n}城は第{p}の殿が築いた。" for p in range(4)]}],
        }
        for n in range(30)
    ]  # fmt: skip
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "articles.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return folder


def small(tmp_path: Path, url: str, **given) -> dict:
    own = {"source": {"path": "articles.jsonl"}, "min_chars": 5}
    return parameters(tmp_path, url, sets={QUESTIONS: own, INFERENCE: own}, **given)


def castle(prompt: str) -> str:
    return re.search(r"第\d+城", prompt).group()


def write_well(prompt: str, times: int = 0):
    """What a good model answers: questions, hypotheses, and scores that follow the castle's number."""
    name = castle(prompt)
    if '"score"' in prompt:
        return completion(json.dumps({"score": 1 + int(name[1:-1]) % 10}), prompt_tokens=50, completion_tokens=4)
    if "contradiction" in prompt:
        text = {"contradiction": f"{name}は誰も築かなかった。", "entailment": f"{name}には築いた人がいた。"}
    else:
        text = {"question": f"{name}を築いたのは誰か。", "answer": "第1の殿"}
    return completion(json.dumps(text, ensure_ascii=False), prompt_tokens=100, completion_tokens=20)


def build(given: dict, raw: Path, out: Path, name: str = QUESTIONS) -> Path:
    settings, sets = parse_settings(given)
    wanted = next(wanted for wanted in sets if wanted.name == name)
    build_set(wanted, Session(settings), raw, out / name)
    return out / name


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_questions(server, raw, tmp_path):
    server.reply = write_well
    folder = build(small(tmp_path, server.url), raw, tmp_path)
    rows, rejects = (read(folder / name) for name in FILES[:2])
    assert len(server.asked) == 40 and len(rows) == 16
    row = rows[0]
    assert row["question"] == f"{row['title']}を築いたのは誰か。" and row["answers"] == ["第1の殿"]
    assert row["text"].count("。") == 3 and row["section"] == "歴史"
    assert {r["reason"] for r in rejects} == {"low_score"} and len(rejects) == 4
    assert max(r["score"] for r in rejects) <= min(r["score"] for r in rows)
    assert rejects[0]["answer"].startswith('{"question"') and rejects[0]["text"]
    report = json.loads((folder / "report.json").read_text("utf-8"))
    tokens = {"requests": 40, "prompt_tokens": 20 * 150, "completion_tokens": 20 * 24}
    assert report == {"model": "swallow", "excerpts": 20, "rows": 16, "rejects": {"low_score": 4}, "tokens": tokens}


def test_inference_reads_as_triplets(server, raw, tmp_path):
    server.reply = write_well
    build(small(tmp_path, server.url), raw, tmp_path, INFERENCE)
    sources = parse_sources({
        "nli": {"kind": "premise_to_hypothesis", "root": str(tmp_path / INFERENCE), "path": "rows.jsonl.gz",
                "origin": "synthetic"},
    })  # fmt: skip
    texts = passage_texts(write_table(tmp_path / "p", SCHEMAS["passages"], passage_parts(sources, raw)))
    pairs = list(write_table(tmp_path / "q", SCHEMAS["pairs"], pair_parts(sources, raw)).iter_rows())
    assert len(pairs) == 16 and {pair["origin"] for pair in pairs} == {"synthetic"}
    for pair in pairs:
        name = castle(texts[pair["anchor"]])
        assert texts[pair["positive"]] == f"{name}には築いた人がいた。"
        assert [texts[docid] for docid in pair["given_negatives"]] == [f"{name}は誰も築かなかった。"]


def test_questions_read_as_pairs_with_their_passages(server, raw, tmp_path):
    server.reply = write_well
    build(small(tmp_path, server.url), raw, tmp_path)
    row = {"kind": "question_to_passage", "root": str(tmp_path / QUESTIONS), "path": "rows.jsonl.gz"}
    sources = parse_sources({"qa": {**row, "origin": "synthetic", "held_out": 0.3}})
    texts = passage_texts(write_table(tmp_path / "p", SCHEMAS["passages"], passage_parts(sources, raw)))
    pairs = list(write_table(tmp_path / "q", SCHEMAS["pairs"], pair_parts(sources, raw)).iter_rows())
    assert len(pairs) == 16 and {pair["split"] for pair in pairs} == {"train", "validation"}
    for pair in pairs:
        assert texts[pair["positive"]].startswith(castle(texts[pair["anchor"]]) + " 歴史 ")
        assert pair["answers"] == ["第1の殿"]


def test_the_order_of_answers_changes_no_byte(server, raw, tmp_path):
    server.reply = write_well
    plain = build(small(tmp_path / "a", server.url, requests={"workers": 1}), raw, tmp_path / "a")
    lots = random.Random(7)

    def late(prompt, times):
        reply = write_well(prompt)
        reply.delay = lots.uniform(0, 0.02)
        return reply

    server.reply = late
    shuffled = build(small(tmp_path / "b", server.url, requests={"workers": 8}), raw, tmp_path / "b")
    assert content(plain) == content(shuffled)
    assert (tmp_path / "a/journal.jsonl").read_bytes() != (tmp_path / "b/journal.jsonl").read_bytes()


def test_what_is_there_is_not_asked_again(server, raw, tmp_path):
    server.reply = write_well
    given = small(tmp_path, server.url)
    first = content(build(given, raw, tmp_path))
    server.asked.clear()
    assert content(build(given, raw, tmp_path)) == first
    (tmp_path / QUESTIONS / "manifest.json").unlink()  # the set is lost, the journal is not
    assert content(build(given, raw, tmp_path)) == first and not server.asked
    moved = {**given, "model": {**given["model"], "base_url": "http://127.0.0.1:9/v1"}}
    assert content(build(moved, raw, tmp_path)) == first
    more = small(tmp_path, server.url)
    more["sets"][QUESTIONS]["count"] = 25
    assert len(read(build(more, raw, tmp_path) / "rows.jsonl.gz")) == 20 and len(server.asked) == 10
    hotter = {**given, "model": {**given["model"], "options": {"max_tokens": 512, "temperature": 1.0}}}
    build(hotter, raw, tmp_path)
    assert len(server.asked) == 50


SCRIPT = """
import json, sys
from pathlib import Path
from ruri_kedro.corpora.synthesis.build import build_set
from ruri_kedro.corpora.synthesis.session import Session
from ruri_kedro.corpora.synthesis.settings import parse_settings
settings, sets = parse_settings(json.loads(sys.argv[1]))
build_set(sets[0], Session(settings), Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_pays_for_nothing_twice(server, raw, tmp_path, end):
    both_wait, ended = threading.Barrier(3), threading.Event()

    def reply(prompt, times):
        if len(server.asked) > 7 and not ended.is_set():
            both_wait.wait(100)
            ended.wait(100)
        return write_well(prompt)

    server.reply = reply
    given = small(tmp_path, server.url, requests={"workers": 2})
    arguments = [sys.executable, "-c", SCRIPT, json.dumps(given), str(raw), str(tmp_path / QUESTIONS)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    both_wait.wait(100)  # each worker has asked once more, so what came before is in the journal
    asked = len(server.asked)
    process.send_signal(end)
    if end == signal.SIGKILL:
        process.wait(100)
    else:
        assert "stopping. The requests under way are waited for" in process.stderr.readline()
    ended.set()
    process.communicate(timeout=100)
    assert process.returncode != 0 and not (tmp_path / QUESTIONS).exists()
    kept = (tmp_path / "journal.jsonl").read_bytes().count(b"\n")
    assert len(server.asked) == asked and kept == (asked - 2 if end == signal.SIGKILL else asked)
    folder = build(given, raw, tmp_path)
    assert len(server.asked) == asked + 40 - kept
    assert content(folder) == content(build(small(tmp_path / "whole", server.url), raw, tmp_path / "whole"))


def test_bad_answers_are_kept_aside_with_their_reason(server, raw, tmp_path):
    bad = [
        completion("できません。"),
        completion('{"question": "誰か', "length"),
        completion(""),
        completion('{"question": "谁建造了城堡？", "answer": "第1の殿"}'),
        completion('{"question": "誰の城か。", "answer": "織田"}'),
    ]
    server.reply = lambda prompt, times: bad.pop() if bad else write_well(prompt)
    given = small(tmp_path, server.url)
    given["sets"][QUESTIONS]["score"] = None
    folder = build(given, raw, tmp_path)
    rejects = {row["reason"]: row for row in read(folder / "rejects.jsonl.gz")}
    assert set(rejects) == {"not_json", "truncated", "empty", "not_japanese", "answer_not_in_passage"}
    assert rejects["not_json"]["answer"] == "できません。" and rejects["answer_not_in_passage"]["detail"] == "織田"
    rows = read(folder / "rows.jsonl.gz")
    assert len(rows) == 15 and all("score" not in row for row in rows)


def test_requests_without_an_answer_are_asked_by_the_next_run(server, raw, tmp_path, caplog):
    lost = []

    def reply(prompt, times):
        if castle(prompt) in lost or (len(lost) < 2 and not lost.append(castle(prompt))):
            return failure(500, "out of memory")
        return write_well(prompt)

    server.reply = reply
    given = small(tmp_path, server.url)
    given["sets"][QUESTIONS]["score"] = None
    folder = build(given, raw, tmp_path)
    rejects = read(folder / "rejects.jsonl.gz")
    assert {row["reason"] for row in rejects} == {"unanswered"} and {row["title"] for row in rejects} == set(lost)
    assert "run again" in caplog.text and len(read(folder / "rows.jsonl.gz")) == 18
    server.reply = write_well
    server.asked.clear()
    build(given, raw, tmp_path)
    assert len(server.asked) == 2 and len(read(folder / "rows.jsonl.gz")) == 20
    build(given, raw, tmp_path)
    assert len(server.asked) == 2


def test_a_broken_server_leaves_the_journal_and_no_set(server, raw, tmp_path):
    server.reply = lambda prompt, times: write_well(prompt) if times == 0 and castle(prompt) < "第2" else failure(500)
    with pytest.raises(SynthesisError, match=r"4 requests failed"):
        build(small(tmp_path, server.url), raw, tmp_path)
    assert not (tmp_path / QUESTIONS).exists() and (tmp_path / "journal.jsonl").exists()


def test_scores_that_are_none_are_rejected(server, raw, tmp_path):
    server.reply = lambda prompt, times: completion("良い") if '"score"' in prompt else write_well(prompt)
    folder = build(small(tmp_path, server.url), raw, tmp_path)
    assert read(folder / "rows.jsonl.gz") == []
    assert {row["reason"] for row in read(folder / "rejects.jsonl.gz")} == {"not_json"}


def test_cost_is_estimated_bounded_and_reported(server, raw, tmp_path, caplog):
    server.reply = write_well
    given = small(tmp_path, server.url, prices={"prompt": 1000.0, "completion": 10_000.0}, max_cost=50.0)
    with pytest.raises(RecipeError, match=r"at most about 1\d\d\.\d\d is to be spent, 0\.00 is spent.*max_cost is 50"):
        build(given, raw, tmp_path)
    assert not server.asked
    given["max_cost"] = 1000.0
    caplog.set_level("INFO")
    build(given, raw, tmp_path)
    assert "20 requests to swallow, at most about" in caplog.text
    given["sets"][INFERENCE]["count"] = 0
    report = read_reports(tmp_path, *parse_settings(given))[QUESTIONS]
    assert report["cost"] == pytest.approx((20 * 150 * 1000 + 20 * 24 * 10_000) / 1e6)


def test_nothing_fits(server, raw, tmp_path):
    given = small(tmp_path, server.url)
    given["sets"][QUESTIONS]["min_chars"] = given["sets"][QUESTIONS]["max_chars"] = 1999
    with pytest.raises(DataError, match=r"sets\.autowikiqa: no excerpt of articles\.jsonl has 1999 to 1999 characters"):
        build(given, raw, tmp_path)
