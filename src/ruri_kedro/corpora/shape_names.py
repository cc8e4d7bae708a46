"""The names of the shapes in which files hold rows: parameters name one, `shapes.py` reads it.

They stand apart from the functions that read, so that those are part of no key but of what is made of raw rows.
"""

from typing import Literal

Shape = Literal[
    "rows", "article_paragraphs", "article_bodies", "cirrus", "wikiextractor", "markdown_sections", "judged_queries",
    "topics", "triples",
]  # fmt: skip
