"""Where things stand: pipelines hold their nodes and wiring, and what tests share stands in tests/support."""

from pathlib import Path

import ruri_kedro

PACKAGE = Path(ruri_kedro.__file__).parent
TESTS = Path(__file__).parent


def test_pipelines_hold_nodes_and_wiring_only():
    for folder in (path for path in (PACKAGE / "pipelines").iterdir() if path.is_dir() and path.name != "__pycache__"):
        assert {path.name for path in folder.glob("*.py")} == {"__init__.py", "nodes.py", "pipeline.py"}, folder.name
    assert [path.name for path in (PACKAGE / "pipelines").glob("*.py")] == ["__init__.py"]


def test_what_tests_share_stands_in_one_place():
    others = [path for path in TESTS.rglob("*.py") if not path.name.startswith("test_") and path.name != "conftest.py"]
    assert {path.parent for path in others} == {TESTS / "support"}


def test_names_of_0_1_that_documents_and_packages_hold():
    from ruri_kedro.benchmark.tasks import load_task
    from ruri_kedro.cli import cli
    from ruri_kedro.registry.checked_models import CheckedModels
    from ruri_kedro.registry.versions import fetch, load, number_of

    assert all(map(callable, (load_task, cli, CheckedModels, fetch, load, number_of)))
