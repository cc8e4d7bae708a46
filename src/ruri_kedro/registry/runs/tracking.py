"""What is reported to MLflow: metrics by step, data sets with digest, artifacts.

MLflow is imported inside the functions, so that a command that tracks nothing does not pay for it.
"""

import base64
import json
import logging
import math
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ruri_kedro.errors import RegistryError
from ruri_kedro.text.pages import without_front_matter, without_pictures

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

_SQLITE = "sqlite:///"
_SERVER = ("http://", "https://")
_URI_VARIABLE, _REGISTRY_VARIABLE = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_FLUSH_AT = 200  # metrics
_FLUSH_AFTER = 5.0  # seconds
_REQUEST_LIMIT = 1000  # metrics in one MLflow request
_RETRY_FIRST, _RETRY_LAST = 60.0, 600.0  # seconds

_DESCRIBED, _LONGEST_DESCRIPTION = 40, 5000  # lines and characters of a run's description

_open_loggers: "list[StepLogger]" = []
_listeners: list[Callable[[str, int, Mapping[str, float]], None]] = []


def tracking_uri(configured: str | None, project: Path) -> str:
    """The tracking URI of a run: MLFLOW_TRACKING_URI, else the configured one, else `mlflow.db` in the project.

    A relative SQLite path counts from `project`, not from the working directory as MLflow would have it. A login in
    the address of a server goes to where MLflow looks for logins, so that nothing that shows the address shows it.
    """
    uri = os.environ.get(_URI_VARIABLE) or configured or f"{_SQLITE}mlflow.db"
    path = uri.removeprefix(_SQLITE)
    if path == uri:
        return log_in(uri) if uri.startswith(_SERVER) else uri
    return uri if path.startswith("/") else f"{_SQLITE}{(project / path).resolve().as_posix()}"


def registry_uri(configured: str | None) -> str | None:
    """The address of a registry beside the tracking server, if there is one: MLFLOW_REGISTRY_URI, or as configured."""
    uri = os.environ.get(_REGISTRY_VARIABLE) or configured
    return log_in(uri) if uri and uri.startswith(_SERVER) else configured


def log_in(uri: str) -> str:
    """The address of a server without its login, which goes into MLflow's variables for it.

    Raises RegistryError, without the address, where user or password are not written as an address needs it.
    """
    try:
        parts = urlsplit(uri)
        _ = parts.port
        host = parts.hostname
    except ValueError:
        host = None
    # A password with one of these characters would end the address before its host.
    if not host or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise RegistryError(
            f"The address of the MLflow tracking server, {shown(uri)}, is not one that can be read. In user and "
            "password write / ? # @ : % as %2F %3F %23 %40 %3A %25, or put them into MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD."
        )
    if parts.username is None:
        return uri
    os.environ[_USER] = unquote(parts.username)
    os.environ[_PASSWORD] = unquote(parts.password or "")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    for variable in (_URI_VARIABLE, _REGISTRY_VARIABLE):  # MLflow and the processes that are started read them, too
        if os.environ.get(variable) == uri:
            os.environ[variable] = bare
    return bare


def shown(uri: str) -> str:
    """An address as it may be shown: without all that may be a login."""
    return re.sub(r"^([\w+.-]+://)(?!/).*@", r"\1", uri, flags=re.DOTALL)


def relative_uri(uri: str, project: Path) -> str:
    """`uri` as it can be written at the project's root: the opposite of `tracking_uri`."""
    path = Path(uri.removeprefix(_SQLITE))
    if uri.startswith(_SQLITE) and path.is_relative_to(project.resolve()):
        return f"{_SQLITE}{path.relative_to(project.resolve()).as_posix()}"
    return uri


def database_of(uri: str) -> Path | None:
    """The file of a SQLite store; None of any other kind of URI."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def check_server(uri: str, timeout: float = 5.0) -> None:
    """Raise RegistryError if `uri` is a tracking server that does not answer, or that refuses the login.

    Other kinds of URI pass. MLflow itself retries for minutes before it says so.
    """
    if not uri.startswith(_SERVER):
        return
    user = os.environ.get(_USER)
    try:
        _ask(f"{uri.rstrip('/')}/health", timeout, user)
        if user:  # that page is open to all
            _ask(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default", timeout, user)
    except urllib.error.HTTPError as error:
        if error.code == 401 and user:
            raise RegistryError(
                f"The MLflow tracking server {shown(uri)} refuses the login. Correct "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the login in MLFLOW_TRACKING_URI."
            ) from None
        # A server without this route, or one that asks for a login, is a server all the same.
        if error.code < 500:
            return
        reason: object = f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
    else:
        return
    raise RegistryError(
        f"The MLflow tracking server {shown(uri)} cannot be reached ({reason}). Start it, correct MLFLOW_TRACKING_URI "
        f"or server.mlflow_tracking_uri in mlflow.yml, or unset both to track into mlflow.db in the project."
    )


def _ask(address: str, timeout: float, user: str | None) -> None:
    request = urllib.request.Request(address)
    if user:
        login = f"{user}:{os.environ.get(_PASSWORD, '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    urllib.request.urlopen(request, timeout=timeout).close()


def mlflow_client() -> "MlflowClient":
    """MLflow's client of the tracking store and the registry that are set."""
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def active_run_id() -> str | None:
    """Id of the run that is open in this thread, if any."""
    if "mlflow" not in sys.modules:
        return None
    import mlflow

    run = mlflow.active_run()
    return run.info.run_id if run else None


def active_run_tags() -> dict[str, str]:
    """The tags that say how the open run came about, with its id as `run_id`; none without a run."""
    run_id = active_run_id()
    if run_id is None:
        return {}
    return {"run_id": run_id, **provenance_tags(mlflow_client().get_run(run_id))}


def provenance_tags(run: Any) -> dict[str, str]:
    """The tags that say how a run of MLflow came about: recipe, command, commit, versions of data and packages."""
    wanted = ("recipe", "reproduce", "git_commit", "git_dirty")
    return {key: value for key, value in run.data.tags.items() if key in wanted or key.startswith(("dvc.", "version."))}


class StepLogger:
    """Sends the metrics of one stage to a run as `stage/key`, in batches.

    A server that fails in the middle of training costs a warning, not the training: the metrics wait and are sent
    again with the next batches.
    """

    def __init__(self, stage: str, run_id: str) -> None:
        self._stage = stage
        self._run_id = run_id
        self._waiting: list[Any] = []
        self._next_flush = time.monotonic() + _FLUSH_AFTER
        self._retry_wait = 0.0
        _open_loggers.append(self)

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Take the metrics of one step; they are sent when enough have come together."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(f"{self._stage}/{key}", float(v), now, step) for key, v in values.items()]
        full = len(self._waiting) >= _FLUSH_AT and not self._retry_wait
        if full or time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> int:
        """Send what waits; gives the number of metrics that wait on. Never raises for a failure of the server."""
        from mlflow.exceptions import MlflowException

        try:
            while self._waiting:
                mlflow_client().log_batch(self._run_id, metrics=self._waiting[:_REQUEST_LIMIT])
                del self._waiting[:_REQUEST_LIMIT]
        except (MlflowException, OSError) as error:
            if not self._retry_wait:
                logger.warning("%s: metrics cannot be sent to MLflow, training goes on. %s", self._stage, error)
            self._retry_wait = min(max(2 * self._retry_wait, _RETRY_FIRST), _RETRY_LAST)
        else:
            self._retry_wait = 0.0
        self._next_flush = time.monotonic() + (self._retry_wait or _FLUSH_AFTER)
        return len(self._waiting)


def step_logger(stage: str) -> Callable[[int, Mapping[str, float]], None]:
    """A callable `(step, metrics)` that reports to the run open in this thread, if there is one, and to listeners."""
    run_id = active_run_id()
    told = [StepLogger(stage, run_id)] if run_id else []
    told += [partial(listener, stage) for listener in _listeners]

    def tell(step: int, values: Mapping[str, float]) -> None:
        for each in told:
            each(step, values)

    return tell


@contextmanager
def listening(listener: Callable[[str, int, Mapping[str, float]], None]) -> Iterator[None]:
    """Let `listener(stage, step, metrics)` be told of the trainings that begin within the block, too."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def flush_step_loggers() -> None:
    """Send what the step loggers still hold and forget them; for the end of a node, whether it failed or not."""
    while _open_loggers:
        lost = _open_loggers.pop().flush()
        if lost:
            logger.warning("%d metrics could not be sent to MLflow and are lost.", lost)


def log_parameters(run_id: str, parameters: Mapping[str, str]) -> None:
    """Log parameters to a run. MLflow refuses one that the run has with another value."""
    from mlflow.entities import Param

    mlflow_client().log_batch(run_id, params=[Param(name, value) for name, value in parameters.items()])


def log_input(run_id: str, name: str, digest: str, rows: int | None, context: str, source: str) -> None:
    """Record on a run that `context` used the data `name` with this digest (at most 36 characters)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = None if rows is None else json.dumps({"num_rows": rows})
    # Entities rather than mlflow.data: those classes want the rows in memory.
    dataset = Dataset(name, digest, "local", json.dumps({"uri": source}), profile=profile)
    tags = [InputTag("mlflow.data.context", context)]
    mlflow_client().log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])


def log_file(run_id: str, path: Path) -> None:
    """Log a file, or a folder with its files, as artifacts of a run."""
    if path.is_dir():
        mlflow_client().log_artifacts(run_id, str(path), artifact_path=path.name)
    else:
        mlflow_client().log_artifact(run_id, str(path))


def log_metric_tree(run_id: str, values: Mapping[str, Any], prefix: str) -> None:
    """Log the numbers of a nested mapping as metrics of a run, named `prefix/key/key`."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in flatten(values, prefix)]
    for start in range(0, len(metrics), _REQUEST_LIMIT):
        mlflow_client().log_batch(run_id, metrics=metrics[start : start + _REQUEST_LIMIT])


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of a nested mapping with their path as a metric name; `ndcg@10` becomes `ndcg_at_10`."""
    for key, value in values.items():
        name = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield metric_name(name), float(value)


def metric_name(name: str) -> str:
    """`name` in the characters that MLflow allows in a metric's name."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name.replace("@", "_at_"))


def describe_run(run_id: str, report: str) -> None:
    """Show the first lines of a report as the description of a run."""
    lines = without_pictures(without_front_matter(report)).strip().splitlines()[:_DESCRIBED]
    set_tags(run_id, {"mlflow.note.content": "\n".join(lines)[:_LONGEST_DESCRIPTION]})


def measure_machine(run_id: str, seconds: float) -> Callable[[], None]:
    """Log what processor, memory, disk and GPU do every so many seconds, by MLflow; gives the call that ends it."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, sampling_interval=seconds, samples_before_logging=1)
    monitor.start()
    return monitor.finish


def set_tags(run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags on a run."""
    from mlflow.entities import RunTag

    mlflow_client().log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
