"""The files of a recipe for texts of the user's own, which trains an existing model on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ruri_kedro.corpora.kinds import KINDS
from ruri_kedro.corpora.splitting import PASSAGES_FILE, TEST_FILE, TRAIN_FILE, VALIDATION_FILE, Split
from ruri_kedro.recipe.revisions import FILE as REVISIONS
from ruri_kedro.tables.files import replace_dir

FOLDER = "split"  # below the recipe's raw folder: what `splitting` writes

_HEAD = """\
# At most so many pairs of a source take part in a stage: rows of a file stand in an order drawn by lot.
_budget: ${runtime_params:budget,full}
_budgets:
  quick: {reranking: 1000, distillation: 1000, contrastive: 3000}
  full: {reranking: 1500, distillation: 1500, contrastive: 9000}

# Passages of one title are the negatives of each other's questions.
_batch_by: {BATCH_BY}
TEACHER
sources:
"""
_TEACHER = """
# --params teacher=reranker trains a reranker first and distils its scores. From so few pairs it learns little to teach.
_teacher: ${runtime_params:teacher,none}
_contrastive: &contrastive
  {negatives: rrf, count: 1, max_rows: "${_budgets.${_budget}.contrastive}", objective: contrastive}
_stages:
  none: {finetuning: [*contrastive]}
  reranker:
    reranking_stage1: {negatives: random, max_rows: "${_budgets.${_budget}.reranking}"}
    reranking_stage2: {negatives: rrf, max_rows: "${_budgets.${_budget}.reranking}"}
    finetuning:
      - {negatives: rrf, max_rows: "${_budgets.${_budget}.distillation}", objective: distillation}
      - *contrastive
"""
_FILES = f"""\
    path: {FOLDER}/{TRAIN_FILE}
    validation: {FOLDER}/{VALIDATION_FILE}
"""
_LICENCE = """\
    licence: internal  # parameters_promotion.yml says what it allows
"""
_STAGES = """\
    stages: ${_stages.${_teacher}}
"""
_CONTRASTIVE = """\
    stages:
      finetuning:
        {negatives: NEGATIVES, count: 1, max_rows: "${_budgets.${_budget}.contrastive}", objective: contrastive}
"""
QUESTIONS = f"""\
  questions:
    kind: question_to_passage
{_FILES}    fields: {{answers: null}}  # no short answers to look for in other passages
{_LICENCE}{_STAGES}"""
TITLES = f"""\
  titles:
    kind: title_to_text
{_FILES}{_LICENCE}{_CONTRASTIVE.replace("NEGATIVES", "rrf")}"""
SENTENCES = f"""\
  sentences:
    kind: sentence_to_sentence
{_FILES}{_LICENCE}{_CONTRASTIVE.replace("NEGATIVES", "random")}"""
WRITTEN = f"""\
  questions:  # written by the pipeline `synthesis`
    kind: question_to_passage
    root: data/01_raw/synthetic/${{globals:recipe}}
    path: autowikiqa/rows.jsonl.gz
    origin: synthetic
    held_out: 0.1
{_LICENCE}{_STAGES}"""
TASK = f"""
tasks:
  TASK:
    type: retrieval
    shape: queries
    path: {FOLDER}/{TEST_FILE}
    corpus: {{path: {FOLDER}/{PASSAGES_FILE}, shape: corpus}}
"""
PROMOTION = """\
promotion:
  model: ruri-${recipe}  # of the size, or ruri-reranker-${recipe}
  minimum: {embedder: {categories: {sts: null}}}  # the recipe has no such test
  licences: {research: [internal]}  # of your texts; what may be done with them is yours to say
"""
_SYNTHESIS = {
    "sets": {
        "autowikiqa": {
            "source": {"path": f"{FOLDER}/{TRAIN_FILE}", "shape": "rows"},
            "count": 2000,
            "per_article": 3,
            "paragraphs": 1,
        },
        "autowikinli": {"count": 0},
    }
}


def write_recipe(conf: Path, name: str, origin: str, files: Mapping[str, str]) -> None:
    """The folder `conf/<name>`: the parameters of the recipe `origin`, and `files` by their names."""
    copied = (conf / origin / "parameters.yml").read_text("utf-8")
    given = yaml.safe_load((conf / origin / "globals.yml").read_text("utf-8"))
    own = {"recipe": name, "raw_root": f"data/01_raw/{name}"}
    with replace_dir(conf / name) as aside:
        texts = {
            "globals.yml": _dumped({**given, **own}),
            "parameters.yml": f"# A copy of conf/{origin}/parameters.yml.\n{copied}",
            "parameters_promotion.yml": PROMOTION,
            **files,
        }
        if (revisions := conf / origin / REVISIONS).is_file():  # of the models that the copy names
            texts[REVISIONS] = revisions.read_text("utf-8")
        for file, text in texts.items():
            (aside / file).write_text(text, encoding="utf-8")


def of_questions() -> dict[str, str]:
    """The sources and the test of questions with passages."""
    head = _head(has_questions=True)
    return {"parameters_sources.yml": head + QUESTIONS + TASK.replace("TASK", "questions")}


def of_documents(parts: Split, model: str | None) -> dict[str, str]:
    """The sources and the test of documents; with `model` that language model writes questions about them."""
    rows = ({"title": row.positive.title, "text": row.positive.text} for row in parts.train)
    has_sentences = next(KINDS["sentence_to_sentence"].drafts(rows, {}), None) is not None
    sources = [TITLES, SENTENCES if has_sentences else "", WRITTEN if model else ""]
    head = _head(has_questions=model is not None)
    files = {"parameters_sources.yml": head + "".join(sources) + TASK.replace("TASK", "titles")}
    if model:
        files["parameters_synthesis.yml"] = _dumped({"synthesis": {"model": {"name": model}, **_SYNTHESIS}})
    return files


def _head(has_questions: bool) -> str:
    """What stands before the sources; questions may have a teacher, and the passages of a title in a batch."""
    by = "questions: title" if has_questions else ""
    return _HEAD.replace("BATCH_BY", by).replace("TEACHER", _TEACHER if has_questions else "")


def _dumped(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
