"""Published forms of the corpora, made from rows: what the converters read, written backwards."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable


def squad(rows: Iterable[dict]) -> bytes:
    """JaQuAD and JSQuAD: articles, paragraphs, questions."""
    articles: dict[str, dict[str, dict]] = {}
    for row in rows:
        paragraphs = articles.setdefault(row["title"], {})
        paragraph = paragraphs.setdefault(row["context_id"], {"context": row["context"], "qas": []})
        answers = [{"text": t, "answer_start": s} for t, s in zip(row["answers"], row["answer_starts"], strict=True)]
        extra = {"question_type": row["question_type"]} if "question_type" in row else {"is_impossible": False}
        paragraph["qas"].append({"question": row["question"], "id": row["qid"], "answers": answers, **extra})
    data = [{"title": title, "paragraphs": list(found.values())} for title, found in articles.items()]
    return json.dumps({"version": "1", "data": data}, ensure_ascii=False, indent="\t").encode()


def jsts(rows: Iterable[dict]) -> bytes:
    """JSON Lines with JGLUE's names."""
    names = {"id": "sentence_pair_id", "text1": "sentence1", "text2": "sentence2", "score": "label",
             "premise": "sentence1", "hypothesis": "sentence2"}  # fmt: skip
    renamed = ({names.get(key, key): value for key, value in row.items()} for row in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in renamed).encode()


def janli(rows: Iterable[dict]) -> bytes:
    """The table of janli.tsv."""
    head = ["", "sentence_A_Ja", "sentence_B_Ja", "entailment_label_Ja"]
    head += ["heuristics", "number_of_NPs", "semtag", "split"]
    return table([head, *(row.values() for row in rows)])


def jrte(rows: Iterable[dict]) -> bytes:
    """A part of the RTE corpus: no header."""
    return table(
        [row["id"], int(row["label"] == "entailment"), row["hypothesis"], row["premise"], "null", "[]", row["split"]]
        for row in rows
    )


def jsick(rows: Iterable[dict]) -> bytes:
    """JSICK's table, with some of the English columns."""
    head = ["pair_ID", "data", "sentence_A_En", "sentence_A_Ja", "sentence_B_Ja"]
    head += ["entailment_label_Ja", "relatedness_score_Ja", "semtag_long"]
    keys = ("pair_id", "source_split", None, "sentence_A_Ja", "sentence_B_Ja", "entailment_label", "relatedness", None)
    return table([head, *([row[key] if key else "" for key in keys] for row in rows)])


def counterfactual(rows: Iterable[dict]) -> bytes:
    """A sentence and a label."""
    return table([["sentence", "is_counterfactual"], *([row["text"], row["label"]] for row in rows)])


def livedoor(rows: Iterable[dict]) -> bytes:
    """The archive of a commit that holds a file per article, a licence per category and other things."""
    files = {"README.md": "# about", "experiments/results/model.bin": "x"}
    for row in rows:
        folder = f"experiments/text/{row['label']}"
        files[f"{folder}/LICENSE.txt"] = "licence\n"
        files[f"{folder}/{row['docid']}.txt"] = f"{row['url']}\n{row['date']}\n{row['title']}\n{row['text']}"
    return archive(files)


def wikipedia(rows: Iterable[dict]) -> bytes:
    """The archive of a commit that holds a file per article, bracketed parts apart."""
    files = {"knp/x.knp": "EOS\n"}
    for row in rows:
        lines = []
        for number, sentence in enumerate(row["sentences"]):
            sid = f"# S-ID:{row['docid']}-{number:02d}"
            lines += [f"{sid}-01 括弧削除 KNP:5.0", sentence, f"{sid}-02 括弧始:（ 括弧終:） 括弧位置:3", "よみ"]
        files[f"org/{row['docid'][:8]}/{row['docid']}.org"] = "\n".join(lines) + "\n"
    return archive(files)


def wikinews(corpus: Iterable[dict], queries: Iterable[dict]) -> bytes:
    """Segmented article and headline; here every character is a word."""
    pairs = zip(corpus, queries, strict=True)
    lines = (f"<s> {' '.join(article['text'])} </s>\t{' '.join(query['query'])}\n" for article, query in pairs)
    return gzip.compress("".join(lines).encode(), mtime=0)


def table(rows: Iterable[Iterable]) -> bytes:
    """Tab-separated lines without quoting."""
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def archive(files: dict[str, str]) -> bytes:
    """A .tar.gz as GitHub gives it: all below one folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"repository-0123abc/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()
