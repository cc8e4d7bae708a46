"""From the published form of each corpus to rows.

A converter takes the files of a corpus as (path, text) and yields the rows of one output file.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from ruri_kedro.text.words import join_words

Files = Iterable[tuple[str, str]]
Converter = Callable[[Files], Iterator[dict]]


def jaquad(files: Files) -> Iterator[dict]:
    """SQuAD's form; the paragraph's id is the question's without its last number."""
    yield from _squad(files, "-", ("question_type",))


def jsquad(files: Files) -> Iterator[dict]:
    """SQuAD's form; the paragraph's id is the question's up to `q`."""
    yield from _squad(files, "q", ())


def jsts(files: Files) -> Iterator[dict]:
    """JSON Lines of sentence pairs with a score from 0 to 5."""
    for _, text in files:
        for line in _lines(text):
            row = json.loads(line)
            yield {
                "id": row["sentence_pair_id"],
                "text1": row["sentence1"],
                "text2": row["sentence2"],
                "score": row["label"],
                "yjcaptions_id": row["yjcaptions_id"],
            }


def jnli(files: Files) -> Iterator[dict]:
    """JSON Lines of premise, hypothesis and a label in words."""
    for _, text in files:
        for line in _lines(text):
            row = json.loads(line)
            yield {
                "id": row["sentence_pair_id"],
                "premise": row["sentence1"],
                "hypothesis": row["sentence2"],
                "label": row["label"],
                "yjcaptions_id": row["yjcaptions_id"],
            }


def janli(files: Files) -> Iterator[dict]:
    """A table whose first column has no name."""
    for row in _table(files):
        yield {
            "id": row[""],
            "premise": row["sentence_A_Ja"],
            "hypothesis": row["sentence_B_Ja"],
            "label": row["entailment_label_Ja"],
            "heuristics": row["heuristics"],
            "number_of_NPs": int(row["number_of_NPs"]),
            "semtag": row["semtag"],
            "split": row["split"],
        }


def jrte(files: Files) -> Iterator[dict]:
    """Tables without a header: id, label, hypothesis, premise, judges, reasons, split. The part is in the name."""
    for path, text in files:
        part = PurePosixPath(path).name.removeprefix("rte.").removesuffix(".tsv")
        for line in _lines(text):
            row_id, label, hypothesis, premise, *_, split = line.split("\t")
            yield {
                "id": row_id,
                "premise": premise,
                "hypothesis": hypothesis,
                "label": "entailment" if label == "1" else "non-entailment",
                "part": part,
                "split": split,
            }


def jsick_train(files: Files) -> Iterator[dict]:
    """The rows `train` and `trial` of the whole table: the published train file has no scores."""
    return (row for row in jsick(files) if row["source_split"] in ("train", "trial"))


def jsick(files: Files) -> Iterator[dict]:
    """A table with English and Japanese pairs, relatedness from 1 to 5 and entailment label; the Japanese is kept."""
    for row in _table(files):
        yield {
            "pair_id": row["pair_ID"],
            "sentence_A_Ja": row["sentence_A_Ja"],
            "sentence_B_Ja": row["sentence_B_Ja"],
            "relatedness": float(row["relatedness_score_Ja"]),
            "entailment_label": row["entailment_label_Ja"],
            "source_split": row["data"],
        }


def counterfactual(files: Files) -> Iterator[dict]:
    """A table of a sentence and 1 or 0, below a header. Quotation marks are text: the table quotes nothing."""
    for _, text in files:
        for line in _lines(text)[1:]:
            sentence, label = line.split("\t")
            yield {"text": sentence, "label": int(label)}


def livedoor(files: Files) -> Iterator[dict]:
    """A file per article: address, date, title, then the text, which its licence wants unchanged."""
    for path, text in files:
        name = PurePosixPath(path)
        if name.name == "LICENSE.txt":
            continue
        url, date, title, body = text.split("\n", 3)
        yield {"docid": name.stem, "title": title, "text": body, "label": name.parent.name, "url": url, "date": date}


def wikipedia_leads(files: Files) -> Iterator[dict]:
    """A file per article: a comment with the sentence's id, then the sentence. Bracketed parts stand apart."""
    for path, text in files:
        sentences, bracketed = [], False
        for line in _lines(text):
            if line.startswith("# S-ID:"):
                bracketed = "括弧始" in line
            elif not bracketed:
                sentences.append(line)
        if sentences:
            yield {"docid": PurePosixPath(path).stem, "text": "".join(sentences), "sentences": sentences}


def wikinews_corpus(files: Files) -> Iterator[dict]:
    """The articles of headline pairs, numbered."""
    for number, (_, article) in enumerate(_headlines(files)):
        yield {"docid": str(number), "title": "", "text": article}


def wikinews_queries(files: Files) -> Iterator[dict]:
    """The headlines of headline pairs, each with the number of its article."""
    for number, (headline, _) in enumerate(_headlines(files)):
        yield {"qid": str(number), "query": headline, "positives": [str(number)]}


CONVERTERS: dict[str, Converter] = {
    function.__name__: function
    for function in (
        jaquad, jsquad, jsts, jnli, janli, jrte, jsick_train, jsick, counterfactual, livedoor, wikipedia_leads,
        wikinews_corpus, wikinews_queries,
    )
}  # fmt: skip


def _squad(files: Files, separator: str, extra: tuple[str, ...]) -> Iterator[dict]:
    for _, text in files:
        for article in json.loads(text)["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield {
                        "qid": question["id"],
                        "question": question["question"],
                        "answers": [answer["text"] for answer in question["answers"]],
                        "answer_starts": [answer["answer_start"] for answer in question["answers"]],
                        "context": paragraph["context"],
                        "title": article["title"],
                        "context_id": question["id"].rpartition(separator)[0],
                        **{field: question[field] for field in extra},
                    }


def _headlines(files: Files) -> Iterator[tuple[str, str]]:
    """(headline, article) of each line. The columns are not documented: the longer one is the article."""
    for _, text in files:
        rows = [line.split("\t")[-2:] for line in _lines(text)]
        article = 0 if sum(len(row[0]) for row in rows) > sum(len(row[1]) for row in rows) else 1
        for row in rows:
            if {column.strip().lower() for column in row} & {"headline", "article", "title"}:
                continue
            pair = [join_words([word for word in c.split(" ") if word not in ("", "<s>", "</s>")]) for c in row]
            yield pair[1 - article], pair[article]


def _table(files: Files) -> Iterator[dict[str, str]]:
    for _, text in files:
        header, *lines = (line.split("\t") for line in _lines(text))
        yield from (dict(zip(header, line, strict=True)) for line in lines)


def _lines(text: str) -> list[str]:
    """Lines by line feed alone: `splitlines` would also cut at separators inside a text."""
    return [line for line in text.split("\n") if line]
