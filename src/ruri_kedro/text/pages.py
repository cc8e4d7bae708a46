"""HTML pages from templates that lie beside the code that fills them, and the text of Markdown pages."""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from ruri_kedro.text.pictures import data_address

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)

_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n+", re.MULTILINE)


def without_front_matter(markdown: str) -> str:
    """A Markdown page without the YAML head that the Hugging Face hub reads and others show as text."""
    return _FRONT_MATTER.sub("", markdown)


def without_pictures(markdown: str) -> str:
    """A Markdown page without the lines that are a picture, for a place that has no files beside it."""
    return _PICTURE.sub("", markdown)


def markdown_body(markdown: str, folder: Path | None = None) -> str:
    """A Markdown page as HTML, without its YAML head; HTML that stands in it is shown as text.

    Pictures that lie in `folder` beside it, as SVG or PNG, stand in the page; of others it has the descriptions.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("image", lambda self, tokens, place, *_: _picture(tokens[place], folder))
    return reader.render(without_front_matter(markdown))


def _picture(token: Any, folder: Path | None) -> str:
    address, described = data_address(token.attrs["src"], folder), escape(token.content)
    return f'<img src="{address}" alt="{described}">' if address else described


def markdown_page(markdown: str, folder: Path | None = None) -> str:
    """A Markdown page as a page of its own, called as its first heading; pictures as in `markdown_body`."""
    from markupsafe import Markup

    heading = re.search(r"^#+ (.*)$", without_front_matter(markdown), re.MULTILINE)
    title = heading[1].replace("`", "") if heading else "Report"
    return render_page(__package__, "markdown.html", heading=title, text=Markup(markdown_body(markdown, folder)))


def render_page(package: str, template: str, **values: Any) -> str:
    """The template of that name in a package, which extends `page.html` beside this file, filled in.

    Values are escaped as HTML. The page is whole in itself: its style and script stand in it, and its security policy
    allows those two, by their digests, and nothing else. Raises jinja2.UndefinedError for a name that the template uses
    and `values` has not.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader(__package__, ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = {"page_style": _Inline.of("page.css"), "page_script": _Inline.of("page.js")}
    return environment.get_template(template).render(**own, **values)


@dataclass(frozen=True)
class _Inline:
    """A style or script that stands in a page, and what a security policy knows it by."""

    text: Any  # jinja2's Markup
    digest: str

    @staticmethod
    @cache
    def of(name: str) -> "_Inline":
        from markupsafe import Markup

        text = Path(__file__).with_name(name).read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        return _Inline(Markup(text), f"sha256-{digest}")
