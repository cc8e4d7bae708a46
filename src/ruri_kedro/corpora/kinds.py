"""How the rows of a source become pairs: one function per kind (Ruri, Table 1, columns "anchor" and "positive").

A new kind is one function from rows to drafts and one line in KINDS.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruri_kedro.tables.raw import label_text
from ruri_kedro.text.hashing import stable_id, unit_interval
from ruri_kedro.text.normalize import normalize
from ruri_kedro.text.prompts import passage_text
from ruri_kedro.text.sentences import split_sentences


@dataclass(frozen=True)
class Text:
    """A text a model may read, in its parts, normalised."""

    text: str
    title: str = ""
    section: str = ""

    def docid(self, source: str) -> str:
        """Stable hash of source and content."""
        return stable_id(source, self.title, self.section, self.text)

    @property
    def full(self) -> str:
        """What a model reads."""
        return passage_text(self.title, self.section, self.text)


@dataclass(frozen=True)
class Draft:
    """A pair before it has ids. `group` decides on which side of a held-out split it falls.

    It is the title where there is one, so that texts of one article stay together, otherwise the question or the text.
    """

    positive: Text | None  # None: a question whose positives are still to be mined
    anchor: Text | None = None  # None: a passage of a collection, no pair
    negatives: tuple[Text, ...] = ()
    answers: tuple[str, ...] = ()
    group: str = ""
    label: float | None = None  # how alike the two texts are, higher is more


Drafts = Iterator[Draft]


@dataclass(frozen=True)
class Kind:
    """A way to make pairs, and the fields it needs."""

    drafts: Callable[[Iterable[dict], Mapping[str, str]], Drafts]
    fields: Mapping[str, type | tuple[type, ...]]
    twins: bool = False  # whether a text may be its own positive
    by_row: bool = True  # whether it takes each row by itself
    is_labelled: bool = False  # whether its pairs have a label, and their positive may be none


def collection(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """Passages only."""
    for row in rows:
        text = _text(row)
        yield Draft(positive=text, group=text.title)


def title_to_text(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """Title (and section title) to a paragraph or body, which is read without them: they would give it away."""
    for row in rows:
        text = _text(row)
        yield Draft(Text(text.text), Text(passage_text(text.title, text.section, "")), group=text.title or text.text)


def abstract_and_body(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """Title to abstract, title to body, and abstract to body; the body is the text behind its abstract."""
    for row in rows:
        title, abstract, text = (normalize(row[name]) for name in ("title", "abstract", "text"))
        body = text.removeprefix(abstract).strip()
        for anchor, positive in ((title, abstract), (title, body), (abstract, body)):
            if anchor and positive:
                yield Draft(Text(positive), Text(anchor), group=title or text)


def sentence_to_sentence(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """One sentence of a text to another, both drawn by the text itself. Texts of one title are held out together."""
    for row in rows:
        text = _text(row)
        sentences = _sentences(text.text)
        if len(sentences) > 1:
            anchor, positive = random.Random(stable_id(text.text)).sample(sentences, 2)
            yield Draft(Text(positive), Text(anchor), group=text.title or text.text)


def sentence(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """Each sentence of a text to itself: dropout alone tells the two apart (SimCSE, unsupervised)."""
    for row in rows:
        for text in _sentences(normalize(row["text"])):
            yield Draft(Text(text), Text(text), group=text)


def unsupervised(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """A text, as it is, to itself: as `sentence`, of files whose rows are the sentences."""
    for row in rows:
        text = normalize(row["text"])
        yield Draft(Text(text), Text(text), group=text)


def question_to_passage(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """A question to the passage that answers it, read with its title; passages given as negatives stay negatives."""
    for row in rows:
        text = _text(row)
        question = normalize(row["question"])
        yield Draft(text, Text(question), _negatives(row), answers=_answers(row), group=text.title or question)


def question(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """A question with its answers; a passage that holds one is mined from its collection (Ruri, Section 3.1)."""
    for row in rows:
        if answers := _answers(row):
            anchor = normalize(row["question"])
            yield Draft(None, Text(anchor), answers=answers, group=anchor)


def premise_to_hypothesis(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """A premise to each hypothesis it entails; the hypotheses it contradicts are its given negatives.

    `labels` maps the file's labels to entailment and contradiction; rows with other labels are left out.
    """
    hypotheses: dict[str, dict[str, dict[Text, None]]] = {}
    for row in rows:
        label = label_text(row["label"])
        label = labels.get(label, label)
        if label in ("entailment", "contradiction"):
            sides = hypotheses.setdefault(normalize(row["premise"]), {"entailment": {}, "contradiction": {}})
            sides[label][Text(normalize(row["hypothesis"]))] = None
    for premise, sides in hypotheses.items():
        negatives = tuple(text for text in sides["contradiction"] if text.text and text not in sides["entailment"])
        for positive in sides["entailment"]:
            yield Draft(positive, Text(premise), negatives, group=premise)


def edit(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """A sentence to its edited form."""
    for row in rows:
        anchor = normalize(row["text1"])
        yield Draft(Text(normalize(row["text2"])), Text(anchor), group=anchor)


def pair(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """An anchor to its positive, with the negatives that come with them, if any do."""
    for row in rows:
        anchor = normalize(row["anchor"])
        yield Draft(Text(normalize(row["positive"])), Text(anchor), _negatives(row), group=anchor)


def labelled_pair(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """Two texts and a number that says how alike they are, such as a grade of JSTS; `text2` need not be a positive."""
    for row in rows:
        anchor = normalize(row["text1"])
        yield Draft(Text(normalize(row["text2"])), Text(anchor), group=anchor, label=float(row["label"]))


def labelled_inference(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """A premise and a hypothesis, however they are related, with a number in the order of GRADES (Fio).

    `labels` maps the file's labels to the names there; rows with other labels are left out.
    """
    for row in rows:
        label = label_text(row["label"])
        if (grade := GRADES.get(labels.get(label, label))) is not None:
            premise = normalize(row["premise"])
            yield Draft(Text(normalize(row["hypothesis"])), Text(premise), group=premise, label=grade)


def judged_pair(rows: Iterable[dict], labels: Mapping[str, str]) -> Drafts:
    """An anchor with its positive, label 1, and with its first negative, label 0, so that half the pairs are positive.

    A row without negatives has the positive of another row, drawn by its own texts, in place of one.
    """
    read = [(normalize(row["anchor"]), normalize(row["positive"]), _negatives(row)) for row in rows]
    positives = list(dict.fromkeys(positive for _, positive, _ in read))
    for anchor, positive, negatives in read:
        yield Draft(Text(positive), Text(anchor), group=anchor, label=1.0)
        if negatives:
            yield Draft(negatives[0], Text(anchor), group=anchor, label=0.0)
        elif len(positives) > 1:
            drawn = int(unit_interval("judged_pair", anchor, positive) * len(positives))
            other = positives[drawn] if positives[drawn] != positive else positives[drawn - 1]
            yield Draft(Text(other), Text(anchor), group=anchor, label=0.0)


def _text(row: Mapping[str, Any]) -> Text:
    """Title, section and text of a row. A `title [SEP] text` form is split here and nowhere else."""
    title, section, text = (normalize(row.get(name, "")) for name in ("title", "section", "text"))
    head, mark, rest = text.partition(" [SEP] ")
    return Text(rest, title or head, section) if mark else Text(text, title, section)


def _negatives(row: Mapping[str, Any]) -> tuple[Text, ...]:
    """The row's own negatives; only a source with a filter may have blank ones, which are left out."""
    return tuple(Text(text) for negative in row["negatives"] if (text := normalize(negative)))


def _answers(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(filter(None, dict.fromkeys(normalize(answer) for answer in row["answers"])))


def _sentences(text: str) -> list[str]:
    """The distinct sentences of a text, in order."""
    return list(dict.fromkeys(s.strip() for s in split_sentences(text) if len(s.strip()) > 1))


_TEXTS = (list, str)
_PASSAGE = {"title": str, "section": str, "text": str}
_PAIR = {"anchor": str, "positive": str, "negatives": _TEXTS}
_PREMISE = {"premise": str, "hypothesis": str, "label": (str, int, bool)}

KINDS: dict[str, Kind] = {
    "collection": Kind(collection, _PASSAGE),
    "title_to_text": Kind(title_to_text, _PASSAGE),
    "abstract_and_body": Kind(abstract_and_body, {"title": str, "abstract": str, "text": str}),
    "sentence_to_sentence": Kind(sentence_to_sentence, _PASSAGE),
    "sentence": Kind(sentence, {"text": str}, twins=True),
    "unsupervised": Kind(unsupervised, {"text": str}, twins=True),
    "question_to_passage": Kind(
        question_to_passage, {"question": str, "answers": _TEXTS, "negatives": _TEXTS, **_PASSAGE}
    ),
    "question": Kind(question, {"question": str, "answers": _TEXTS}),
    "premise_to_hypothesis": Kind(premise_to_hypothesis, _PREMISE, by_row=False),
    "edit": Kind(edit, {"text1": str, "text2": str}),
    "labelled_pair": Kind(
        labelled_pair, {"text1": str, "text2": str, "label": (float, int)}, twins=True, is_labelled=True
    ),
    "labelled_inference": Kind(labelled_inference, _PREMISE, twins=True, is_labelled=True),
    "pair": Kind(pair, _PAIR),
    "judged_pair": Kind(judged_pair, _PAIR, twins=True, by_row=False, is_labelled=True),
}
# Numbers of labels for losses in which their order alone counts.
GRADES = {"entailment": 1.0, "neutral": 0.5, "contradiction": 0.0}
MEANINGS = ("entailment", "contradiction", "neutral")  # of labels; neutral rows count for labelled_inference only
# Read where a row has them; `fields: {answers: null}` says that a source has none.
OPTIONAL_FIELDS = ("title", "section", "negatives")
NULLABLE_FIELDS = (*OPTIONAL_FIELDS, "answers")
BLANK_FIELDS = ("title", "section", "answers")  # of which a blank text, also in a list, says that there is none
