"""What counts as the code of a module."""

import pytest

from ruri_kedro.tables.code import behaviour_digest

FILES = {
    "__init__.py": "",
    "pipelines/nodes.py": "from toy.rooms import store\ndef f():\n    from toy.rooms.losses import loss\n    return 1",
    "rooms/__init__.py": "from toy.rooms.store import Store",
    "rooms/store.py": "import json\nimport toy.pipelines.nodes\n\nclass Store:\n    pass",
    "rooms/losses.py": "def loss(x):\n    return x",
    "rooms/other.py": "OTHER = 1",
}


@pytest.fixture
def digest(tmp_path):
    """The digest of the nodes of a small package, some of whose files are changed."""
    versions = iter(range(100))

    def of(changed: dict[str, str] | None = None) -> str:
        # Another folder each time: a process reads a file of its own code once.
        package = tmp_path / str(next(versions)) / "toy"
        for name, text in (FILES | (changed or {})).items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text, "utf-8")
        return behaviour_digest("toy.pipelines.nodes", package)

    return of


@pytest.mark.parametrize(
    "changed",
    [
        {"pipelines/nodes.py": FILES["pipelines/nodes.py"] + " + 1"},
        {"rooms/losses.py": "def loss(x):\n    return -x"},  # imported in a function
        {"rooms/store.py": FILES["rooms/store.py"] + "\n\nLIMIT = 2"},  # imported as an attribute of its package
        {"rooms/__init__.py": "from toy.rooms.losses import loss as Store"},
    ],
)
def test_code_that_is_imported_counts(digest, changed):
    assert digest(changed) != digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"rooms/losses.py": '"""Losses."""\n\n\ndef loss(x):\n    """The loss."""\n    return (x)  # as it is'},
        {"rooms/other.py": "OTHER = 2"},
    ],
)
def test_comments_docstrings_and_what_is_not_imported_do_not_count(digest, changed):
    assert digest(changed) == digest()
