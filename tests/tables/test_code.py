"""What counts as the code of a function, a class or a module."""

from functools import partial
from importlib import import_module

import pytest

from ruri_kedro.tables.code import behaviour_digest, definitions_of

FILES = {
    "__init__.py": "",
    "pipelines/nodes.py": (
        "from typing import TYPE_CHECKING\n"
        "from toy.errors import DataError\n"
        "from toy.rooms import helpers, store\n"
        "if TYPE_CHECKING:\n"
        "    from toy.rooms.other import OTHER\n"
        "LIMIT = 3\n"
        "def f(x: store.Store):\n"
        "    from toy.rooms.losses import loss\n"
        "    check_all(x)\n"
        "    logger.info('about to lose')\n"
        "    if x > LIMIT:\n"
        "        raise DataError(f'{x} is above {LIMIT}')\n"
        "    def inner(y):\n"
        "        return helpers.twice(y)\n"
        "    return inner(loss(x))\n"
        "def g():\n"
        "    return 1\n"
        "def check_all(x):\n"
        "    assert x, 'nothing'\n"
    ),
    "rooms/__init__.py": "from toy.rooms.store import Store",
    "rooms/helpers.py": "def twice(x):\n    return 2 * x\ndef thrice(x):\n    return 3 * x",
    "rooms/store.py": (
        "import json\nimport toy.pipelines.nodes\n\nclass Store:\n    def rows(self):\n        return KEPT\nKEPT = 1"
    ),
    "rooms/losses.py": "from json import loads\nTABLE = {}\nTABLE['a'] = 1\ndef loss(x):\n    return loads(x)",
    "rooms/other.py": "OTHER = 1",
    "errors.py": "class DataError(Exception):\n    pass",
}  # fmt: skip
NODES = FILES["pipelines/nodes.py"]


@pytest.fixture
def package(tmp_path):
    """A small package, some of whose files are changed."""
    versions = iter(range(100))

    def of(changed: dict[str, str] | None = None):
        # Another folder each time: a process reads a file of its own code once.
        package = tmp_path / str(next(versions)) / "toy"
        for name, text in (FILES | (changed or {})).items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text, "utf-8")
        return package

    return of


@pytest.fixture
def digest(package):
    """The digest of the function `f` of the package."""
    return lambda changed=None: behaviour_digest("toy.pipelines.nodes.f", package=package(changed))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pipelines/nodes.py", "return inner(loss(x))", "return inner(loss(x)) + 1"),
        ("pipelines/nodes.py", "helpers.twice(y)", "helpers.thrice(y)"),  # in a function within it
        ("pipelines/nodes.py", "LIMIT = 3", "LIMIT = 4"),
        ("pipelines/nodes.py", "raise DataError", "raise OtherError"),
        ("rooms/losses.py", "loads(x)", "-loads(x)"),  # imported in the function
        ("rooms/losses.py", "from json", "from orjson"),  # the same name from another package
        ("rooms/losses.py", "= 1", "= 2"),  # a statement that has no name
        ("rooms/helpers.py", "2 * x", "3 * x"),  # an attribute of its module
        ("rooms/store.py", "return KEPT", "return -KEPT"),  # in the annotation of what is handed over
        ("rooms/store.py", "KEPT = 1", "KEPT = 2"),
    ],
)
def test_what_a_function_names_counts_however_indirectly(digest, file, old, new):
    assert old in FILES[file]
    assert digest({file: FILES[file].replace(old, new)}) != digest()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pipelines/nodes.py", "return 1", "return 2"),  # another function
        ("rooms/helpers.py", "3 * x", "4 * x"),
        ("rooms/losses.py", "TABLE = {}", "OTHER = 1\nTABLE = {}"),  # before a statement that has no name
        ("rooms/other.py", "1", "2"),  # imported for type checkers
        ("pipelines/nodes.py", "about to lose", "lost"),
        ("pipelines/nodes.py", "is above", "is more than"),
        ("pipelines/nodes.py", "assert x", "assert x > 0"),  # a check that gives nothing back
        ("rooms/losses.py", "def loss(x):", "def loss(x: float) -> 'float':"),
        ("rooms/losses.py", "from json import loads", "from json import dumps, loads"),
    ],
)
def test_what_it_does_not_need_does_not_count(digest, file, old, new):
    assert old in FILES[file]
    assert digest({file: FILES[file].replace(old, new)}) == digest()


def test_comments_docstrings_and_layout_do_not_count(digest):
    written = '"""Losses."""\n\n\n' + FILES["rooms/losses.py"].replace(
        "    return loads(x)", '    """The loss."""\n    return (\n        loads(x)  # as it is\n    )'
    )
    nested = NODES.replace("def inner(y):\n", 'def inner(y):\n        "Twice."\n').replace("def g", "# g\n\n\n\ndef g")
    stored = '"""A store."""\n' + FILES["rooms/store.py"].replace("Store:\n", 'Store:\n    """Rows."""\n\n')
    assert digest({"rooms/losses.py": written, "pipelines/nodes.py": nested, "rooms/store.py": stored}) == digest()


def test_an_import_through_a_package_leads_to_the_definition(package):
    assert ("toy.rooms.store", "KEPT") in definitions_of("toy.rooms.Store", package=package())


def test_a_module_is_all_that_it_defines(package):
    assert ("toy.rooms.helpers", "thrice") in definitions_of("toy.rooms.helpers", package=package())


@pytest.mark.parametrize("name", ["toy.room", "toy.rooms.helpers.four_times", "elsewhere.nodes", "toy.rooms.store.x.y"])
def test_a_name_that_there_is_not_is_an_error(package, name):
    with pytest.raises(ImportError, match=name.rpartition(".")[2]):
        behaviour_digest(name, package=package())


def test_an_import_that_there_is_not_is_an_error(package):
    broken = package(
        {"pipelines/nodes.py": NODES.replace("import loss\n", "import losses\n").replace("loss(x)", "losses(x)")}
    )
    with pytest.raises(ImportError, match=r"toy\.rooms\.losses\.losses"):
        behaviour_digest("toy.pipelines.nodes.f", package=broken)


def test_a_function_from_outside_counts_with_its_file(package, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "added_elsewhere.py"
    file.write_text("def read():\n    return 1\n", "utf-8")
    read, toy = import_module("added_elsewhere").read, package()
    found = behaviour_digest("toy.pipelines.nodes.f", read, package=toy)
    assert found != behaviour_digest("toy.pipelines.nodes.f", package=toy)
    assert found == behaviour_digest("toy.pipelines.nodes.f", partial(read), package=toy)
    file.write_text("def read():\n    return 2\n", "utf-8")
    assert found != behaviour_digest("toy.pipelines.nodes.f", read, package=toy)
