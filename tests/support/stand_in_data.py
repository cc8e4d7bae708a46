"""Raw data of the recipes in their published forms, made of the fixtures and of the shipped corpus by made-up rows.

A row of a fixture is told again and again: copy `k` has other kanji in place of each of its own, so that questions,
answers and passages of a copy still belong together and those of two copies do not.
"""

import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cut_project import SAMPLE, read, write
from kedro_project import REPOSITORY

PUBLISHED = REPOSITORY / "tests/fixtures/sources"
COPIES = 14  # of each row of a fixture
LOCAL = ("wiki_atomic_edits", "jaquad", "miracl", "mkqa", "janli")  # below data/01_raw/ruri
OWNERS = ("hpprc", "clips", "intfloat", "cl-nagoya", "kunishou", "shunk031", "sbintuitions", "hotchpotch", "castorini")
_IDS = ("qid", "q_id", "docid", "context_id", "id", "query_id", "passage_row_id", "passage_id", "hash", "example_id")
_FIRST, _KANJI = ord("一"), 20_000


def told_again(value: Any, copy: int, key: str = "") -> Any:
    """The value, of any depth, as copy number `copy` of it; 0: as it is."""
    if isinstance(value, dict):
        return {name: told_again(inner, copy, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [told_again(inner, copy, key) for inner in value]
    if key in _IDS and copy:
        return value + 1000 * copy if isinstance(value, int) else f"{value}-{copy}"
    if isinstance(value, str):
        return "".join(_kanji(char, copy) for char in value)
    return value


def _kanji(char: str, copy: int) -> str:
    place = ord(char) - _FIRST
    return chr(_FIRST + (place + 367 * copy) % _KANJI) if 0 <= place < _KANJI else char


def grow(file: Path, copies: Iterable[int], out: Path | None = None) -> None:
    """Write a file of a fixture with copies of each of its rows; `out` is where, in its own place if not given."""
    out, copies = out or file, list(copies)
    out.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        rows = [told_again(row, copy) for copy in copies for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), out)
    elif file.name.endswith(".tsv.gz"):  # edits, below their header
        head, *lines = gzip.decompress(file.read_bytes()).decode().splitlines()
        lines = [head, *(told_again(line, copy) for copy in copies for line in lines)]
        out.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))
    elif file.suffix == ".gz":
        write(out, [told_again(row, copy) for copy in copies for row in read(file)])
    elif file.suffix == ".tsv":  # MIRACL's topics and judgments
        lines = file.read_text("utf-8").splitlines()
        _write_lines(out, [_with_ids(line, copy) for copy in copies for line in lines])
    else:  # JSON Lines
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        again = [told_again(row, copy) for copy in copies for row in rows]
        _write_lines(out, [json.dumps(row, ensure_ascii=False) for row in again])


def _with_ids(line: str, copy: int) -> str:
    cells = line.split("\t")
    ids = {0, 2} if len(cells) == 4 else {0}
    return "\t".join(told_again(cell, copy, "id" if place in ids else "") for place, cell in enumerate(cells))


def _write_lines(out: Path, lines: list[str]) -> None:
    out.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def write_papers_corpora(raw: Path, hub: Path) -> None:
    """The sources and tests of conf/ruri: what is local below `raw`, copies of the hub's data sets below `hub`."""
    for name in LOCAL:
        shutil.copytree(PUBLISHED / name, raw / name)
    for owner in OWNERS:
        shutil.copytree(PUBLISHED / owner, hub / owner)
    tests = range(COPIES, COPIES + 4)
    _write_tests(raw, hub, tests)
    for root in (raw, hub):
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            if file.name not in ("miracl_hard_negs_1000.json", "README.md") and "JaCWIR" not in file.parts:
                test = "test" in file.name or "-dev." in file.name or file.parent.name == "jsquad"
                searched = file.name.startswith(("docs-", "corpus."))
                grow(file, tests if test else range(COPIES + len(tests) if searched else COPIES))
    _write_answers(hub / "hpprc/jawiki/data/train-00001-of-00002.parquet", raw, hub)


def _write_tests(raw: Path, hub: Path, copies: range) -> None:
    """What the fixtures lack: tests of MIRACL and Mr. TyDi in the form of their training rows, JaCWIR and JSQuAD."""
    for kind in ("topics", "qrels"):
        folder = raw / "miracl/miracl-v1.0-ja" / kind
        shutil.copy(folder / f"{kind}.miracl-v1.0-ja-train.tsv", folder / f"{kind}.miracl-v1.0-ja-dev.tsv")
    mined = {told_again(qid, k, "qid"): {"docids": [told_again("99#0", k, "docid")]} for qid in "12" for k in copies}
    (raw / "miracl/miracl_hard_negs_1000.json").write_text(json.dumps(mined))
    lost = {"docid": "7#0", "title": "植物", "text": "植物は長い間に石炭になる。"}  # a positive that its fixture lacks
    corpus = hub / "castorini/mr-tydi-corpus/mrtydi-v1.1-japanese/corpus.jsonl.gz"
    write(corpus, [*read(corpus), lost])
    mr_tydi = hub / "castorini/mr-tydi/mrtydi-v1.1-japanese"
    shutil.copy(mr_tydi / "train.jsonl.gz", mr_tydi / "test.jsonl.gz")
    asked = {
        "qid": "t1",
        "question": "岬の塔は何か",
        "context": "岬の塔は灯台である。",
        "title": "岬",
        "context_id": "1",
    }
    write(raw / "jsquad/valid.jsonl.gz", [asked])
    pages = [{"doc_id": f"p{i}", "title": f"題{i}", "description": f"説明{i}。", "link": "x"} for i in range(12)]
    asked = [{"query": f"問い{i}", "positive": f"p{i}", "negatives": [f"p{i + 1}", f"p{i + 2}"]} for i in range(8)]
    card = "---\nconfigs:\n"
    for name, rows in {"eval": asked, "collection": pages}.items():
        folder = hub / "hotchpotch/JaCWIR" / name
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "part-0.parquet")
        card += f"- config_name: {name}\n  data_files:\n  - {{split: {name}, path: {name}/*.parquet}}\n"
    (hub / "hotchpotch/JaCWIR/README.md").write_text(f"{card}---\n", "utf-8")


def _write_answers(out: Path, raw: Path, hub: Path) -> None:
    """Articles of Wikipedia that answer the questions of the quizzes and of MKQA, whose positives are mined."""
    first = out.with_name("train-00000-of-00001.parquet")
    table = pq.read_table(first)
    row = table.to_pylist()[0]
    asked = [row for path in sorted(hub.glob("hpprc/quiz-*/data/*.parquet")) for row in pq.read_table(path).to_pylist()]
    answers = [answer for row in asked for answer in row["answers"]]
    answers += [answer["text"] for row in read(raw / "mkqa/mkqa.jsonl.gz") for answer in row["answers"]["ja"] or ()
                if answer["text"]]  # fmt: skip
    articles = []
    for number, answer in enumerate(dict.fromkeys(answers)):
        paragraph = {**row["paragraphs"][0], "text": f"{answer}のことが書いてある。"}
        articles.append({**row, "id": 90_000 + number, "title": answer, "paragraphs": [paragraph]})
    pq.write_table(pa.Table.from_pylist(articles, schema=table.schema), out)


def write_mini(raw: Path) -> None:
    """The files that `python -m ruri_kedro.corpora.fetch mini` leaves, of rows of the shipped corpus."""
    questions = read(SAMPLE / "questions/train.jsonl.gz")[:160]
    tests = read(SAMPLE / "questions/test.jsonl.gz")[:25]
    news = read(SAMPLE / "news/train.jsonl.gz")[:80]
    inferences = read(SAMPLE / "inference/train.jsonl.gz")[:160]
    pairs = read(SAMPLE / "sts/test.jsonl.gz")[:40]
    entailed = [{**row, "split": "train", "label": "entailment" if row["label"] == "entailment" else "non-entailment"}
                for row in inferences]  # fmt: skip
    labelled = [{"text": row["text1"], "label": number % 2} for number, row in enumerate(pairs)]
    files: dict[str, list[dict]] = {
        "jaquad/train": questions,
        "jsquad/valid": tests,
        "wikinews_headline/queries": [{"qid": row["docid"], "query": row["title"], "positives": [row["docid"]]}
                                      for row in news],
        "wikinews_headline/corpus": [{"docid": row["docid"], "text": row["text"]} for row in news],
        "wikipedia_leads/wikipedia_leads": [{"docid": row["article_id"], "text": row["abstract"]}
                                            for row in read(SAMPLE / "articles.jsonl.gz")[:80]],
        "janli/janli": entailed[:80],
        "jrte_rte/jrte_rte": entailed[80:],
        "jsts/valid": pairs,
        "jsick/test": [{"sentence_A_Ja": row["text1"], "sentence_B_Ja": row["text2"], "relatedness": row["score"]}
                       for row in pairs],
        "livedoor_news/livedoor_news": [{"title": row["title"], "text": row["text"], "label": str(number % 3)}
                                        for number, row in enumerate(news[:30])],
        "amazon_counterfactual/train": labelled[:20],
        "amazon_counterfactual/test": labelled[20:],
    }  # fmt: skip
    for name, rows in files.items():
        write(raw / f"{name}.jsonl.gz", rows)
