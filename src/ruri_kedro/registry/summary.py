"""The last lines of a run: what was registered, and the commands that come next."""

import shutil
import sys
from pathlib import Path

from ruri_kedro.registry.runs import tracking
from ruri_kedro.registry.runs.tracking import mlflow_client

# MLflow opens in its view of language models, where no run of a training is seen, unless the address says otherwise.
LOCAL_UI = "http://127.0.0.1:5000"
VIEW = "?workflowType=machine_learning"
# The recipe after each one, by the name of its environment; None is conf/base alone.
NEXT_RECIPE = {None: "mini"}


def closing_lines(run_id: str | None, project: Path, env: str | None, size: str | None = None) -> str:
    """Registered versions of the run, and the commands for MLflow, Kedro-Viz and the next recipe.

    `size` is that of the models, where it was given.
    """
    from ruri_kedro.registry.versions import models  # with it come polars and scipy

    lines = []
    own = f" --env {env}" if env else ""
    commands = [_ui_command(project, run_id)]
    commands.append((f"kedro viz run{own}", "the flow and its data"))
    if run_id is not None and (versions := models.registered_by(run_id)):
        lines += [f"Registered: {', '.join(map(str, versions))}", ""]
        given = f" --params size={size}" if size else ""
        commands.append((f"kedro run{own} --pipelines promotion{given}", "the challenger against the champion"))
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


def _ui_command(project: Path, run_id: str | None) -> tuple[str, str]:
    """The command that shows the runs, from the project's root, and what is seen then, with the address."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    page = f"/{mlflow_client().get_run(run_id).info.experiment_id}" if run_id else ""
    address = f"/#/experiments{page}{VIEW}"
    if uri.startswith(("http://", "https://")):
        return f"open '{tracking.shown(uri).rstrip('/')}{address}'", "runs, metrics and models"
    # The login of a database stays in the variable.
    store = '"$MLFLOW_TRACKING_URI"' if tracking.shown(uri) != uri else tracking.relative_uri(uri, project)
    command = f"mlflow ui --backend-store-uri {store}"
    return command, f"runs, metrics and models, at {LOCAL_UI}{address}"
