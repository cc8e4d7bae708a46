"""Decides `precision: auto` once, so that keys, logs and the command that does the run again have what was used."""

import logging
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

from ruri_kedro.models.precision import automatic, fastest

logger = logging.getLogger(__name__)


class PrecisionHooks:
    """Puts the precision that is the fastest on this machine where the recipe leaves it to the machine."""

    def __init__(self) -> None:
        self._decided: dict[tuple[str, ...], str] = {}

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Replace each `auto` in the parameters, before any of them is read."""
        self._decided = {}
        try:
            parameters = context.config_loader["parameters"]
        except MissingConfigException:
            return
        places = list(automatic(parameters))
        if not places:
            return
        device = (parameters.get("run") or {}).get("device", "auto")
        self._decided = dict.fromkeys(places, fastest(str(device)))
        context.config_loader["parameters"] = _with(parameters, self._decided.items())

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Add what was decided to the parameters of the run, as if it had been given with --params."""
        if self._decided:
            logger.info("precision: auto is %s on this machine.", ", ".join(sorted(set(self._decided.values()))))
            run_params["runtime_params"] = _with(run_params.get("runtime_params") or {}, self._decided.items())


def decided(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with the fastest precision of this machine in place of each `auto`."""
    device = (parameters.get("run") or {}).get("device", "auto")
    return _with(parameters, ((place, fastest(str(device))) for place in automatic(parameters)))


def _with(parameters: dict[str, Any], values: Iterable[tuple[tuple[str, ...], str]]) -> dict[str, Any]:
    """A copy of nested parameters with these values at their paths."""
    copied = deepcopy(parameters)
    for path, value in values:
        block = copied
        for key in path[:-1]:
            block = block.setdefault(key, {})
        block[path[-1]] = value
    return copied
