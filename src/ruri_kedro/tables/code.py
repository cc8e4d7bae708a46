"""Digests of the package's own code, so that what older code made is not taken for current."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ruri_kedro.text.hashing import digest_all, stable_id

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def code_digest(*rooms: str) -> str:
    """Digest of the source files of the given rooms, such as `code_digest("text", "corpora")`."""
    files = sorted(path for room in rooms for path in (_PACKAGE / room).rglob("*.py"))
    return digest_all(stable_id(path.relative_to(_PACKAGE).as_posix(), path.read_text("utf-8")) for path in files)


@cache
def behaviour_digest(module: str, package: Path = _PACKAGE) -> str:
    """Digest of what `module` of the package does: its code and that of all it imports, however indirectly.

    Comments, docstrings and layout do not count, nor do other packages. `module` is a name such as
    `ruri_kedro.pipelines.finetuning.nodes`; one of another package has the digest of nothing.
    """
    found: dict[str, str] = {}
    waiting = {module}
    while waiting:
        name = waiting.pop()
        if (path := _source(name, package)) is not None:
            found[name], imported = _read(path)
            waiting |= imported - found.keys()
    return digest_all(stable_id(name, found[name]) for name in sorted(found))


@cache
def _read(path: Path) -> tuple[str, frozenset[str]]:
    """Digest of a file's code, and the names in its imports."""
    tree = _without_docstrings(ast.parse(path.read_text("utf-8")))
    return stable_id(ast.dump(tree)), frozenset(_imported(tree))


def _source(name: str, package: Path) -> Path | None:
    """The file of a module of the package."""
    root, *rest = name.split(".")
    if root != package.name:
        return None
    path = package.joinpath(*rest)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Names that may be modules, from import statements anywhere in the code: many stand inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return tree
