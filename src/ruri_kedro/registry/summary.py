"""The last lines of a run: what was registered, and the commands that come next."""

import shutil
import sys
from pathlib import Path

from ruri_kedro.registry import models, tracking

# The recipe after each one, by the name of its environment; None is conf/base alone.
NEXT_RECIPE = {None: "mini"}


def last_words(run_id: str | None, project: Path, env: str | None) -> str:
    """Registered versions of the run, and the commands for MLflow, Kedro-Viz and the next recipe."""
    lines = []
    own = f" --env {env}" if env else ""
    commands = [(_ui_command(project), "runs, metrics and models")]
    commands.append((f"kedro viz run{own}", "the flow and its data"))
    if run_id is not None and (versions := models.registered_by(run_id)):
        lines += [f"Registered: {', '.join(map(str, versions))}", ""]
        commands.append((f"kedro run{own} --pipelines promotion", "the challenger against the champion"))
    if following := NEXT_RECIPE.get(env):
        commands.append((f"python -m ruri_kedro.corpora.fetch {following}", "the corpora of the next recipe"))
        commands.append((f"kedro run --env {following}", "the next recipe"))
    commands = [(_runnable(command, project), what) for command, what in commands]
    width = max(len(command) for command, _ in commands)
    return "\n".join([*lines, "Next:", *(f"  {command:<{width}}  # {what}" for command, what in commands)])


def _runnable(command: str, project: Path) -> str:
    """The command with the path of its program where the shell would not find the one of this environment."""
    program = command.split()[0]
    found = shutil.which(program)
    own = Path(sys.executable).parent / program
    if not own.exists() or (found and Path(found).samefile(own)):
        return command
    path = own.relative_to(project) if own.is_relative_to(project) else own
    return f"{path}{command.removeprefix(program)}"


def _ui_command(project: Path) -> str:
    """The command that shows the runs, from the project's root."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        return f"open {tracking.shown(uri)}"
    if tracking.shown(uri) != uri:  # a database with a login
        return 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
    return f"mlflow ui --backend-store-uri {tracking.relative_uri(uri, project)}"
