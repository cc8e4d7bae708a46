"""A small Kedro project with this package's settings, data set classes and hooks, for tests of those."""

import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

REPOSITORY = Path(__file__).resolve().parents[2]
KEDRO = str(Path(sys.executable).with_name("kedro"))

PYPROJECT = """
[tool.kedro]
package_name = "tiny_project"
project_name = "tiny"
kedro_init_version = "1.7.0"
source_dir = "src"
"""

SETTINGS = "from ruri_kedro.settings import CONFIG_LOADER_ARGS, HOOKS  # noqa: F401\n"

REGISTRY = """
from kedro.pipeline import Node, Pipeline
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import Part


def read(folder, recipe):
    rows = [{"docid": p.name, "source": "s", "title": "", "section": "", "text": p.read_text("utf-8")}
            for p in sorted(folder.iterdir())]
    return {"s": Part(recipe, lambda: [rows])}


def train(passages, fail):
    log = step_logger("pretraining")
    for step in range(3):
        log(step, {"loss": 1.0 / (step + 1)})
    if fail:
        raise RuntimeError("the training broke")
    return {"rows": passages.rows(), "ndcg@10": {"sample": 0.5}}


def evaluate(metrics):
    return "| model | ndcg@10 |\\n| --- | --- |\\n| tiny | 0.5 |"


def register_pipelines():
    pipelines = {
        "data_engineering": Pipeline([
            Node(func=read, inputs=["raw", "params:recipe"], outputs="passages", name="read")]),
        "pretraining": Pipeline([
            Node(func=train, inputs=["passages", "params:fail"], outputs="metrics", name="train")]),
        "evaluation": Pipeline([Node(func=evaluate, inputs="metrics", outputs="report", name="evaluate")]),
    }
    return pipelines | {"__default__": sum(pipelines.values())}
"""

CATALOG = """
raw:
  type: ruri_kedro.datasets.RawFolder
  filepath: ${runtime_params:raw_root,data/01_raw/tiny}

passages:
  type: ruri_kedro.datasets.TableDataset
  filepath: data/03_primary/tiny/passages
  schema: passages

metrics:
  type: json.JSONDataset
  filepath: data/08_reporting/tiny/metrics.json
  versioned: ${runtime_params:versioned,true}
  metadata:
    mlflow: metrics

report:
  type: text.TextDataset
  filepath: data/08_reporting/tiny/report.md
  versioned: ${runtime_params:versioned,true}
  metadata:
    mlflow: artifact
"""


def make_project(root: Path) -> Path:
    """Write the project into `root`, with two raw files; give `root`."""
    package = root / "src" / "tiny_project"
    files = {
        root / "pyproject.toml": PYPROJECT,
        package / "__init__.py": "",
        package / "settings.py": SETTINGS,
        package / "pipeline_registry.py": REGISTRY,
        root / "conf/base/catalog.yml": CATALOG,
        root / "conf/base/parameters.yml": "recipe: tiny\nfail: false\n_settings: {a: 1, b: {c: x}}\n",
        root / "conf/local/.gitkeep": "",
        root / "conf/other/parameters.yml": "recipe: other\n_settings: {b: {c: y}}\n",
        root / "data/01_raw/tiny/a.txt": "富士山は山である。",
        root / "data/01_raw/tiny/b.txt": "信濃川は川である。",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copy(REPOSITORY / "conf/base/mlflow.yml", root / "conf/base/mlflow.yml")
    shutil.copy(REPOSITORY / "conf/logging.yml", root / "conf/logging.yml")
    shutil.copy(empty_store(), root / "mlflow.db")
    return root


@cache
def empty_store() -> Path:
    """An MLflow store with its tables: they take seconds to make, so they are made once."""
    from mlflow.tracking import MlflowClient

    path = Path(mkdtemp()) / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
