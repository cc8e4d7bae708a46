"""What makes a command start, and refuse, in a second: libraries are imported when they are needed, and faster."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_MLFLOW_COMMANDS = "kedro_mlflow.framework.cli.cli"


@contextmanager
def without_collector() -> Iterator[None]:
    """Import and build without the garbage collector, which would search all that is made again and again for nothing.

    What was made is left out of later collections, too, the last ones at the end of the process among them. MLflow with
    its SQL store takes 2.0 seconds of a CPU in this way, and 3.3 without.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def postpone_mlflow_commands() -> None:
    """Let `kedro mlflow ...` be imported when it is asked for.

    `kedro` imports the commands of all plugins before it looks at which is wanted, and those of kedro-mlflow import
    all of MLflow. A module that stands in for theirs knows the one name that Kedro asks for.
    """
    if _MLFLOW_COMMANDS in sys.modules:
        return
    from kedro.framework.cli.utils import LazyGroup

    stand_in = ModuleType(_MLFLOW_COMMANDS)
    stand_in.commands = LazyGroup(  # type: ignore[attr-defined]
        name="Mlflow",
        help="Kedro plugin for interactions with mlflow.",
        lazy_subcommands={"mlflow": f"{_MLFLOW_COMMANDS}.mlflow_commands"},
    )

    def real(name: str) -> Any:
        """Any other name of the module is looked up in the real one, which then takes its place."""
        if name.startswith("__"):  # what prints a traceback asks every module for such names
            raise AttributeError(name)
        if sys.modules.get(_MLFLOW_COMMANDS) is stand_in:
            del sys.modules[_MLFLOW_COMMANDS]
        return getattr(import_module(_MLFLOW_COMMANDS), name)

    stand_in.__getattr__ = real  # type: ignore[method-assign]
    sys.modules[_MLFLOW_COMMANDS] = stand_in
