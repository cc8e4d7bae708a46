"""HTML pages from templates that lie beside the code that fills them."""

from typing import Any


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
