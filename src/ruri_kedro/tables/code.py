"""Digests of what the package's own code does, so that what other code made is not taken for current.

A digest is that of some definitions (functions, classes, constants) and of all that they name, however indirectly,
within the package. It is the same on all versions of Python and in every folder. These do not count:

- comments, docstrings, layout, annotations, imports of which no name is used, and code of other packages;
- what can only raise or tell: the text of an error, and statements that call a logger or a function `check_...`;
- what stands in WITHOUT_EFFECT.

A name that an annotation mentions is followed, since the object may have been made elsewhere. Names in strings are not:
what is loaded by its dotted name is named where the digest is asked for.
"""

import ast
import functools
import gc
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ruri_kedro.text.hashing import digest_all, stable_id

_PACKAGE = Path(__file__).resolve().parents[1]

# What these do changes no row, vector or weight: errors, locks and checksums, who makes a shard, progress and tracking.
WITHOUT_EFFECT = frozenset(
    {
        "ruri_kedro.errors",
        "ruri_kedro.progress",
        "ruri_kedro.registry.tracking",
        "ruri_kedro.tables.checksums",
        "ruri_kedro.tables.code",
        "ruri_kedro.tables.engines",
        "ruri_kedro.tables.files",
        "ruri_kedro.training.logs",
        "ruri_kedro.training.memory",
    }
)
_LOGGERS = ("log", "logger", "logging")
_CHECKS = ("check_", "_check_", "_allowed")  # functions that raise or do nothing

Definition = tuple[str, str]  # module, name; an empty name is the whole module


def behaviour_digest(*work: Callable | str, package: Path = _PACKAGE) -> str:
    """Digest of what functions and classes do, or names such as `ruri_kedro.retrieval.fusion[.<definition>]`.

    A method stands for its class, a nested function for the one around it, a partial function for its function.
    Raises ImportError for what the package does not have.
    """
    return _digest(tuple(map(_name_of, work)), package)


def definitions_of(*work: Callable | str, package: Path = _PACKAGE) -> frozenset[Definition]:
    """The (module, name) of every definition that counts in `behaviour_digest` of the same."""
    return frozenset(_reached(tuple(map(_name_of, work)), package))


@cache
def _digest(names: tuple[str, ...], package: Path) -> str:
    found = _reached(names, package)
    return digest_all(stable_id(*definition, found[definition]) for definition in sorted(found))


def _reached(names: Iterable[str], package: Path) -> dict[Definition, str]:
    """Digest of the statements of each definition that is named, however indirectly."""
    found: dict[Definition, str] = {}
    waiting = [_definition(name, package) for name in names]
    while waiting:
        definition = waiting.pop()
        if definition in found or definition[0] in WITHOUT_EFFECT:
            continue
        found[definition], named = _read(definition, package)
        waiting += named
    return found


def _name_of(work: Callable | str) -> str:
    if isinstance(work, str):
        return work
    while isinstance(work, functools.partial):
        work = work.func
    work = inspect.unwrap(work)
    return f"{work.__module__}.{work.__qualname__.partition('.')[0]}"


def _definition(name: str, package: Path) -> Definition:
    """Module and definition of a dotted name."""
    if _source(name, package):
        return name, ""
    module, _, last = name.rpartition(".")
    if not _source(module, package):
        raise ImportError(f"{name}: {package.name} has no such module or definition. Correct the name.")
    return module, last


@cache
def _read(definition: Definition, package: Path) -> tuple[str, list[Definition]]:
    """Digest of a definition's own code, and the definitions of the package that it names.

    Raises ImportError if the module does not define the name.
    """
    module_name, name = definition
    module = _module(module_name, package)
    if not name:
        return "", [(module_name, each) for each in (*module.statements, *module.imports)]
    if name in module.imports:
        targets = sorted(module.imports[name])
        return stable_id(*targets), [found for target in targets for found in _inside(target, package)]
    if name not in module.statements:
        raise ImportError(f"{module_name}.{name}: the module does not define this name. Correct it.")
    parts, named = [], []
    for statement in module.statements[name]:
        imports = _merged(module.imports, statement.imports) if statement.imports else module.imports
        used = sorted((imports.keys() & statement.names) | statement.imports.keys())
        parts += [statement.digest, *(f"{each}={target}" for each in used for target in sorted(imports[each]))]
        named += [(module_name, each) for each in statement.names & module.statements.keys()]
        for each in used:
            for target in imports[each]:
                named += _inside(target, package, statement.attributes.get(each, ()))
    # Statements such as `TABLE["key"] = value` belong to every definition beside them.
    named += [(module_name, each) for each in module.statements if each.startswith(_UNNAMED)]
    return stable_id(*parts), named


def _inside(target: str, package: Path, attributes: Iterable[str] = ()) -> list[Definition]:
    """The definitions that an import of `target` leads to: of a module its attributes that are used, else all."""
    if target.partition(".")[0] != package.name:
        return []
    module, name = _definition(target, package)
    if name:
        return [(module, name)]
    known = _module(module, package)
    used = [each for each in attributes if each in known.statements or each in known.imports]
    inner = [f"{module}.{each}" for each in attributes if _source(f"{module}.{each}", package)]
    return [(module, each) for each in used] + [(each, "") for each in inner] or [(module, "")]


@cache
def _source(name: str, package: Path) -> Path | None:
    """The file of a module of the package."""
    root, *rest = name.split(".")
    if root != package.name:
        return None
    path = package.joinpath(*rest)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


Imports = Mapping[str, frozenset[str]]  # dotted names of what a name stands for

_UNNAMED = "<statement "


@dataclass(frozen=True)
class _Statement:
    """What counts of a statement at the top of a module."""

    digest: str
    names: frozenset[str]
    attributes: Mapping[str, set[str]]  # by the name that they are of
    imports: Imports  # within it


@dataclass(frozen=True)
class _Module:
    """What a module binds at its top: names by imports, names by statements."""

    imports: Imports
    statements: Mapping[str, list[_Statement]]


@cache
def _module(name: str, package: Path) -> _Module:
    statements: dict[str, list[_Statement]] = defaultdict(list)
    imports: Imports = {}
    with _uncollected():
        for node in _executed(ast.parse(_source(name, package).read_bytes()).body):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports = _merged(imports, _imported(node))
            elif not _is_idle(node):
                statement = _Reading().statement(node)
                for bound in sorted(_bound(node)) or [f"{_UNNAMED}{len(statements)}>"]:
                    statements[bound].append(statement)
    return _Module(imports, dict(statements))


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


def _merged(first: Imports, second: Imports) -> Imports:
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

    def statement(self, node: ast.stmt) -> _Statement:
        """What counts of a statement."""
        self.read(node)
        return _Statement(stable_id(" ".join(self.words)), frozenset(self.names), dict(self.attributes), self.imports)

    def read(self, node: ast.AST) -> None:
        """Add a node and all below it."""
        kind, words = type(node), self.words
        # Most nodes are names, or attributes of names.
        if kind is ast.Name:
            self.names.add(node.id)
            words += ("Name", node.id)
            return
        if kind is ast.Import or kind is ast.ImportFrom:
            self.imports = _merged(self.imports, _imported(node))
            return
        if kind is ast.Attribute and type(node.value) is ast.Name:
            self.attributes[node.value.id].add(node.attr)
        elif kind is ast.Raise and _is_error(node.exc):  # of what kind, not with which text
            node = ast.Raise(exc=node.exc.func)
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
        words.append(")")
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
