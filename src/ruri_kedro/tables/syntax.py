"""What counts of a module's code: by name its statements, as digests of their syntax with the names in them."""

import ast
import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ruri_kedro.text.hashing import stable_id

UNNAMED = "<statement "  # what the name of a statement that binds none begins with
DATA = (".html", ".toml")  # endings of the package's data files: templates, words of the made-up corpus
_LOGGERS = ("log", "logger", "logging")
_CHECKS = ("check_", "_check_", "_allowed")  # functions that raise or do nothing

Imports = Mapping[str, frozenset[str]]  # dotted names of what a name stands for


@dataclass(frozen=True)
class Statement:
    """What counts of a statement at the top of a module."""

    digest: str
    names: frozenset[str]
    attributes: Mapping[str, set[str]]  # by the name that they are of
    imports: Imports  # within it
    files: frozenset[str]  # names, or endings of names, of data files of the package


@dataclass(frozen=True)
class Module:
    """What a module binds at its top: names by imports, names by statements."""

    imports: Imports
    statements: Mapping[str, list[Statement]]


@cache
def read_module(path: Path) -> Module:
    """What counts of a module."""
    statements: dict[str, list[Statement]] = defaultdict(list)
    imports: Imports = {}
    with _uncollected():
        for node in _executed(ast.parse(path.read_bytes()).body):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports = merged(imports, _imported(node))
            elif not _is_idle(node):
                statement = _Reading().statement(node)
                for bound in sorted(_bound(node)) or [f"{UNNAMED}{statement.digest}>"]:
                    statements[bound].append(statement)
    return Module(imports, dict(statements))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which looks at every node of a syntax tree again and again and finds nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _executed(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body without those for type checkers."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from node.orelse
        else:
            yield node


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    walked = (each for target in targets for each in ast.walk(target))
    stored = {each.id for each in walked if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    inside = (each for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt) for each in _bound(child))
    return stored.union(inside)


def _imported(node: ast.Import | ast.ImportFrom) -> Imports:
    """What an import binds: the name in the code, and the dotted name of what it stands for."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: frozenset({alias.name}) for alias in node.names}
    return {alias.asname or alias.name: frozenset({f"{node.module}.{alias.name}"}) for alias in node.names}


def merged(first: Imports, second: Imports) -> Imports:
    return {**first, **{name: targets | first.get(name, frozenset()) for name, targets in second.items()}}


def _is_idle(node: ast.stmt) -> bool:
    """Whether a statement is text, such as a docstring, or a call that can only raise or log."""
    if not isinstance(node, ast.Expr):
        return False
    value = node.value
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str)
    called = value.func if isinstance(value, ast.Call) else None
    if isinstance(called, ast.Name):
        return called.id.startswith(_CHECKS)
    return isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in _LOGGERS


# Fields of the syntax tree that change nothing that is computed.
_ANNOTATIONS = ("annotation", "returns")
_IDLE_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_params", "msg", "cause", *_ANNOTATIONS})


def _is_error(raised: ast.expr | None) -> bool:
    """Whether an error of an ordinary class is made; others, such as a rejection with its reason, may be data."""
    called = raised.func if isinstance(raised, ast.Call) else None
    return isinstance(called, ast.Name) and called.id.endswith("Error")


@dataclass
class _Reading:
    """The words of a statement's syntax tree, and the names in it."""

    words: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    attributes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by the name they are of
    imports: Imports = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def statement(self, node: ast.stmt) -> Statement:
        """What counts of a statement."""
        self.read(node)
        digest, names = stable_id(" ".join(self.words)), frozenset(self.names)
        return Statement(digest, names, dict(self.attributes), self.imports, frozenset(self.files))

    def read(self, node: ast.AST) -> None:
        """Add a node and all below it."""
        kind, words = type(node), self.words
        # Most nodes are names, or attributes of names.
        if kind is ast.Name:
            self.names.add(node.id)
            words += ("Name", node.id)
            return
        if kind is ast.Import or kind is ast.ImportFrom:
            self.imports = merged(self.imports, _imported(node))
            return
        if kind is ast.Attribute and type(node.value) is ast.Name:
            self.attributes[node.value.id].add(node.attr)
        elif kind is ast.Raise and _is_error(node.exc):  # of what kind, not with which text
            node = ast.Raise(exc=node.exc.func)
        # The kind of the node, then its fields by name.
        words.append(kind.__name__)
        for name in kind._fields:
            value = getattr(node, name, None)
            # A field that only newer versions of Python have is empty where it is not used.
            if value is None or value == [] or name in _IDLE_FIELDS:
                continue
            words.append(name)
            if isinstance(value, ast.AST):
                self.read(value)
            elif type(value) is list:
                self._read_list(value)
            else:
                words.append(repr(value))
                if type(value) is str and value.endswith(DATA):
                    self.files.add(value)
        words.append(")")
        # Annotations have no effect themselves, but name what a parser reads.
        for name in _ANNOTATIONS:
            if annotation := getattr(node, name, None):
                self._follow(annotation)

    def _read_list(self, values: list) -> None:
        if isinstance(values[0], ast.stmt):
            values = [each for each in _executed(values) if not _is_idle(each)]
        self.words.append("[")
        for each in values:
            if isinstance(each, ast.AST):
                self.read(each)
            else:
                self.words.append(repr(each))
        self.words.append("]")

    def _follow(self, annotation: ast.expr) -> None:
        """Add the names of an annotation, also of one in quotes, and nothing else."""
        for node in ast.walk(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                try:
                    self._follow(ast.parse(node.value, mode="eval").body)
                except SyntaxError:  # text within an annotation, such as a literal
                    continue
            elif isinstance(node, ast.Name):
                self.names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                self.attributes[node.value.id].add(node.attr)
