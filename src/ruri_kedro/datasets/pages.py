"""Reports as Kedro data sets: a page in HTML or a text in Markdown, which Kedro-Viz shows."""

import re

from kedro_datasets._typing import HTMLPreview
from kedro_datasets.text import TextDataset

from ruri_kedro.text.pages import without_front_matter

# Kedro-Viz takes every page for Markdown as well: what is a mark there is replaced by a character that is none.
_MARKS = str.maketrans({"_": " ", "*": "∗", "`": "'", "[": "［", "]": "］"})
_UNSEEN = re.compile(r"<!DOCTYPE.*?>|<head>.*?</head>", re.DOTALL)
_CODE = re.compile(r"<pre>.*?</pre>", re.DOTALL)


class PageDataset(TextDataset):
    """A self-contained HTML page.

    >>> PageDataset(filepath="data/08_reporting/sample/negatives_supervised.html")
    """

    def preview(self) -> HTMLPreview:
        """What is in the body of the page, in a form that survives the renderer of Kedro-Viz."""
        return _preview(self.load())


class MarkdownDataset(TextDataset):
    """A text in Markdown, as tables and headings in Kedro-Viz; a YAML head is left out there.

    >>> MarkdownDataset(filepath="data/08_reporting/sample/report.md")
    """

    def preview(self) -> HTMLPreview:
        """The text as HTML."""
        from markdown_it import MarkdownIt

        text = without_front_matter(self.load())
        return _preview(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


def _preview(page: str) -> HTMLPreview:
    """One line without any mark of Markdown: line breaks would be kept, and marks be read as such."""
    seen = _CODE.sub(lambda code: code[0].replace("\n", "<br>"), _UNSEEN.sub("", page))
    return HTMLPreview(" ".join(seen.split()).translate(_MARKS))
