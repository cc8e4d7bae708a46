"""The parameters of a step, sent to MLflow in one request."""

from collections.abc import Callable
from typing import Any

from kedro.framework.hooks import hook_impl

from ruri_kedro.registry.runs import tracking


class ParameterHooks:
    """kedro-mlflow sends each parameter of each step by itself: over two thousand requests in a run.

    What it names and flattens is collected here, and what the run has not yet been told goes out before the step.
    """

    def __init__(self) -> None:
        self._run_id: str | None = None
        self._send_one: Callable[[str, Any], None] | None = None
        self._longest = 0  # characters
        self._waiting: dict[str, str] = {}
        self._sent: dict[str, str] = {}

    @hook_impl(trylast=True)
    def before_pipeline_run(self) -> None:
        """Take the place of kedro-mlflow's sending, if it tracks this run."""
        self._run_id = tracking.active_run_id()
        self._waiting, self._sent = {}, {}
        if self._run_id is None:
            return
        from kedro_mlflow.framework.hooks.mlflow_hook import MAX_PARAM_VAL_LENGTH, mlflow_hook

        self._longest = MAX_PARAM_VAL_LENGTH
        if self._send_one is None:
            self._send_one = mlflow_hook._log_param
            mlflow_hook._log_param = self._collect

    @hook_impl(trylast=True)
    def before_node_run(self) -> None:
        """Send what the step brought."""
        waiting, self._waiting = self._waiting, {}
        new = {name: value for name, value in waiting.items() if self._sent.get(name) != value}
        if new:
            tracking.log_parameters(self._run_id, new)
            self._sent |= new

    def _collect(self, name: str, value: Any) -> None:
        text = str(value)
        if len(text) > self._longest:
            self._send_one(name, value)  # cut, made a tag or refused, as mlflow.yml says
        else:
            self._waiting[name] = text
