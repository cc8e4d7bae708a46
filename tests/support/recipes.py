"""The recipes of conf/, as a run would have their parameters."""

import json
from copy import deepcopy
from functools import cache

from kedro.config import OmegaConfigLoader
from kedro_project import REPOSITORY

from ruri_kedro.settings import CONFIG_LOADER_ARGS

SIZES = ("small", "base", "large")
SIZES_OF = {"sample": [None], "mini": [None], "ruri": SIZES, "ruri-v3": ("30m", "70m", "130m", "310m")}


def recipe(env, kind="parameters", **runtime):
    """Parameters as a run would have them; each are read once, and given as a copy."""
    return deepcopy(_read(env, kind, json.dumps(runtime)))


@cache
def _read(env, kind, runtime):
    folder = str(REPOSITORY / "conf")
    given = json.loads(runtime)
    return OmegaConfigLoader(conf_source=folder, env=env, runtime_params=given, **CONFIG_LOADER_ARGS)[kind]


def sized(env, size, kind="parameters"):
    """Those of a size; None: the recipe has none."""
    return recipe(None if env == "sample" else env, kind, **({"size": size} if size else {}))


def written(env):
    """The parameters that the files of a recipe write themselves, without conf/base."""
    folder = str(REPOSITORY / "conf")
    arguments = {**CONFIG_LOADER_ARGS, "base_env": env, "default_run_env": env}
    return OmegaConfigLoader(conf_source=folder, env=env, **arguments)["parameters"]


def at(parameters, path):
    """The value at a dotted path."""
    for key in path.split("."):
        parameters = parameters[key]
    return parameters
