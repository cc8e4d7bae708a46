"""Reports as Kedro data sets: a page in HTML or a text in Markdown, which Kedro-Viz shows."""

import re
from pathlib import Path

from kedro_datasets._typing import HTMLPreview
from kedro_datasets.text import TextDataset

from ruri_kedro.tables.files import replace_file
from ruri_kedro.text.pages import markdown_body, markdown_page

# Kedro-Viz takes every page for Markdown as well: what is a mark there is replaced by a character that is none.
_MARKS = str.maketrans({"_": " ", "*": "∗", "`": "'", "[": "［", "]": "］"})
_UNSEEN = re.compile(r"<!DOCTYPE.*?>|<head>.*?</head>|<script>.*?</script>|<div id=\"controls\".*?</div>", re.DOTALL)
_CODE = re.compile(r"<pre>.*?</pre>", re.DOTALL)


class PageDataset(TextDataset):
    """A self-contained HTML page.

    >>> PageDataset(filepath="data/08_reporting/sample/negatives_supervised.html")
    """

    def preview(self) -> HTMLPreview:
        """What is in the body of the page, in a form that survives the renderer of Kedro-Viz."""
        return _preview(self.load())


class MarkdownDataset(TextDataset):
    """A text in Markdown, and beside it the same as a page; a YAML head is left out there and in Kedro-Viz.

    The page holds the pictures that lie beside it, so they are saved before.

    >>> MarkdownDataset(filepath="data/08_reporting/sample/report.md")
    """

    def save(self, data: str) -> None:
        """Store the text, and the page as a file of the same name that ends with .html."""
        super().save(data)
        path = Path(self._get_save_path())
        with replace_file(path.with_suffix(".html")) as aside:
            aside.write_text(markdown_page(data, path.parent), encoding="utf-8")

    def preview(self) -> HTMLPreview:
        """The text as HTML."""
        return _preview(markdown_body(self.load()))


def _preview(page: str) -> HTMLPreview:
    """One line without any mark of Markdown: line breaks would be kept, and marks be read as such."""
    seen = _CODE.sub(lambda code: code[0].replace("\n", "<br>"), _UNSEEN.sub("", page))
    return HTMLPreview(" ".join(seen.split()).translate(_MARKS))
