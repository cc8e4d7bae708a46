"""Digests of what the package's own code does, so that what other code made is not taken for current.

A digest is that of some definitions (functions, classes, constants) and of all that they name, however indirectly,
within the package. It is the same on all versions of Python and in every folder. These do not count:

- comments, docstrings, layout, annotations, imports of which no name is used, and code of other packages;
- what can only raise or tell: the text of an error, and statements that call a logger or a function `check_...`;
- what stands in WITHOUT_EFFECT.

A name that an annotation mentions is followed, since the object may have been made elsewhere. Names in strings are not:
what is loaded by its dotted name is named where the digest is asked for. A data file of the package (`syntax.DATA`)
counts where the code beside it has its name, or the ending of its name, in a string.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from ruri_kedro.tables.syntax import UNNAMED, Module, merged, read_module
from ruri_kedro.text.hashing import digest_all, stable_id

_PACKAGE = Path(__file__).resolve().parents[1]

# What these do changes no row, vector or weight: errors, locks and checksums, who makes a shard, progress and tracking.
WITHOUT_EFFECT = frozenset(
    {
        "ruri_kedro.errors",
        "ruri_kedro.models.kinds",  # names what does the work, which is given where the digest is asked for
        "ruri_kedro.hooks.progress",
        "ruri_kedro.registry.runs.tracking",
        "ruri_kedro.tables.checksums",
        "ruri_kedro.tables.code",
        "ruri_kedro.engines.engine",
        "ruri_kedro.tables.files",
        "ruri_kedro.tables.syntax",
        "ruri_kedro.training.logs",
        "ruri_kedro.training.memory",
    }
)

Definition = tuple[str, str]  # module, name; an empty name is the whole module


def behaviour_digest(*work: Callable | str, package: Path = _PACKAGE) -> str:
    """Digest of what functions and classes do, or names such as `ruri_kedro.search.fusion[.<definition>]`.

    A method stands for its class, a nested function for the one around it, a partial function for its function.
    A function from outside the package, which somebody has put in one of its tables, counts with the text of its file.
    Raises ImportError for a name that the package does not have.
    """
    foreign = [each for each in work if not isinstance(each, str) and _is_foreign(each, package)]
    own = _digest(tuple(name_of(each) for each in work if each not in foreign), package)
    return digest_all([own, *map(_file_digest, foreign)]) if foreign else own


def definitions_of(*work: Callable | str, package: Path = _PACKAGE) -> frozenset[Definition]:
    """The (module, name) of every definition that counts in `behaviour_digest` of the same."""
    return frozenset(_reached(tuple(map(name_of, work)), package))


def _is_foreign(work: Callable, package: Path) -> bool:
    return name_of(work).partition(".")[0] != package.name


def _file_digest(work: Callable) -> str:
    return stable_id(name_of(work), Path(inspect.getfile(_plain(work))).read_text("utf-8"))


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


def name_of(work: Callable | str) -> str:
    """The dotted name by which `behaviour_digest` knows a function, a class or what is named already."""
    if isinstance(work, str):
        return work
    work = _plain(work)
    return f"{work.__module__}.{work.__qualname__.partition('.')[0]}"


def _plain(work: Callable) -> Callable:
    """The function behind partial functions and wrappers."""
    while isinstance(work, functools.partial):
        work = work.func
    return inspect.unwrap(work)


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
        imports = merged(module.imports, statement.imports) if statement.imports else module.imports
        used = sorted((imports.keys() & statement.names) | statement.imports.keys())
        parts += [statement.digest, *(f"{each}={target}" for each in used for target in sorted(imports[each]))]
        parts += _data(_source(module_name, package).parent, statement.files)
        named += [(module_name, each) for each in statement.names & module.statements.keys()]
        for each in used:
            for target in imports[each]:
                named += _inside(target, package, statement.attributes.get(each, ()))
    # Statements such as `TABLE["key"] = value` belong to every definition beside them.
    named += [(module_name, each) for each in module.statements if each.startswith(UNNAMED)]
    return stable_id(*parts), named


def _data(folder: Path, names: Iterable[str]) -> list[str]:
    """Digests of the data files in a module's folder that have these names or endings."""
    found = {file for name in names for file in folder.glob(f"*{name}" if name.startswith(".") else Path(name).name)}
    return [stable_id(file.name, file.read_text("utf-8")) for file in sorted(found)]


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


def _module(name: str, package: Path) -> Module:
    return read_module(_source(name, package))
