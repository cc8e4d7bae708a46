"""HTML pages from templates that lie beside the code that fills them, and the text of Markdown pages."""

import re
from typing import Any

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)


def without_front_matter(markdown: str) -> str:
    """A Markdown page without the YAML head that the Hugging Face hub reads and others show as text."""
    return _FRONT_MATTER.sub("", markdown)


def render_page(package: str, template: str, **values: Any) -> str:
    """The template of that name in a package, filled in.

    Values are escaped as HTML. Raises jinja2.UndefinedError for a name that the template uses and `values` has not.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
