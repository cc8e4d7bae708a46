"""Kedro project settings: https://docs.kedro.org/en/stable/configure/configuration_basics/"""

import logging
import os

from ruri_kedro.hooks.checks import CheckHooks
from ruri_kedro.hooks.closing import CheckpointHooks, ClosingHooks
from ruri_kedro.hooks.dry_run import DryRunHooks
from ruri_kedro.hooks.inputs import MissingInputHooks, RecipeHooks
from ruri_kedro.hooks.parameters import ParameterHooks
from ruri_kedro.hooks.precision import PrecisionHooks
from ruri_kedro.hooks.progress import ProgressHooks
from ruri_kedro.hooks.recipe_loader import RecipeLoader
from ruri_kedro.hooks.sole_run import SoleRunHooks
from ruri_kedro.hooks.stats import StatsHooks
from ruri_kedro.hooks.tracking import TrackingHooks
from ruri_kedro.startup import postpone_mlflow_commands

_ENVIRONMENT = {
    # kedro-viz brings kedro-telemetry, which would otherwise send usage data.
    "DO_NOT_TRACK": "1",
    # OpenMP threads that wait spin for long; as soon as anything else runs, that slows torch down several times.
    # benchmarks/README.md has the figures.
    "GOMP_SPINCOUNT": "1000",
    # A run ends by saying what it has registered; MLflow's own lines would stand between.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server lost in the middle of a run holds it up for half a minute, not for several.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

postpone_mlflow_commands()

# The warnings of libraries become lines of the log.
logging.captureWarnings(True)
# Said by MLflow about a class of kedro-mlflow at each start; MLflow overrides the filters of `warnings` for it.
logging.getLogger("py.warnings").addFilter(lambda record: "Add type hints to the" not in record.getMessage())

# Of the first five Kedro calls the last one first: parameters are looked at before precisions are decided, and all that
# can end a run comes before the run is tracked.
HOOKS = (
    PrecisionHooks(), SoleRunHooks(), DryRunHooks(), CheckHooks(), MissingInputHooks(), RecipeHooks(), TrackingHooks(),
    ParameterHooks(), CheckpointHooks(), StatsHooks(), ClosingHooks(), ProgressHooks(),
)  # fmt: skip

CONFIG_LOADER_CLASS = RecipeLoader  # with the commits of conf/<env>/revisions.yml
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # A recipe's file changes single keys of conf/base; the default would replace whole top-level keys.
    "merge_strategy": {"parameters": "soft"},
    # ${store:versioned,size} in the catalog: runs of Kedro, stages of DVC and sizes keep their outputs apart.
    "custom_resolvers": {
        "store": lambda versioned, *size: "/".join(["versions" if versioned else "dvc", *filter(None, size)])
    },
}
