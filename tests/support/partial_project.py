"""The cut project with a recipe `part` that has only some stages and tasks."""

from pathlib import Path

import yaml
from cut_project import PARAMETERS, make_cut_project
from tiny import tiny_encoder

SOURCES = {
    "encyclopedia": {"kind": "collection", "path": "articles.jsonl.gz", "shape": "article_paragraphs"},
    "questions": {
        "kind": "question_to_passage", "path": "questions/train.jsonl.gz",
        "validation": "questions/validation.jsonl.gz",
        "fields": {"title": "title", "section": "section", "text": "context"}, "collection": "encyclopedia",
    },
    "inference": {"kind": "premise_to_hypothesis", "path": "inference/train.jsonl.gz"},
}  # fmt: skip
TASKS = {
    "questions": {"type": "retrieval", "shape": "qa", "path": "questions/test.jsonl.gz",
                  "corpus": {"path": "articles.jsonl.gz", "shape": "articles"}},
    "sts": {"type": "sts", "path": "sts/test.jsonl.gz"},
}  # fmt: skip


def make_partial_project(root: Path, stages: dict, tasks: list[str], **base_model) -> Path:
    """Write the project into `root`; `stages` by source, with a licence for all, `tasks` of TASKS. Gives `root`.

    base_model: parameters of this block.
    """
    make_cut_project(root)
    (root / "conf/cut").rename(root / "conf/part")
    (root / "data/01_raw/cut").rename(root / "data/01_raw/part")
    (root / "conf/part/globals.yml").write_text("recipe: part\nraw_root: data/01_raw/part\nseed: 42\n", "utf-8")
    wanted = {name: row for name, row in SOURCES.items() if name in stages or "questions" in stages}
    sources = {
        name: row | {"licence": "Apache-2.0"} | ({"stages": stages[name]} if name in stages else {})
        for name, row in wanted.items()
    }
    blocks = {"sources": sources, "tasks": {name: TASKS[name] for name in tasks}}
    (root / "conf/part/parameters_sources.yml").write_text(yaml.safe_dump(blocks, allow_unicode=True), "utf-8")
    # A model that is there is loaded faster than one is built with its tokenizer.
    tiny_encoder().save_pretrained(str(root / "base"))
    parameters = yaml.safe_load(PARAMETERS) | {"base_model": {"name": str(root / "base"), **base_model}}
    (root / "conf/part/parameters.yml").write_text(yaml.safe_dump(parameters), "utf-8")
    return root
