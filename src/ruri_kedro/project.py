"""The Kedro project that a command is run in."""

from pathlib import Path
from typing import Any

# The catalog's table of what each stage was trained on.
EXAMPLES = {
    "pretraining": "pretraining_examples",
    "reranking_stage1": "reranking_stage1_examples",
    "reranking_stage2": "reranking_stage2_examples",
    "finetuning": "distilled_examples",
}


def project_context(env: str | None) -> Any:
    """The Kedro context of the project; with it the hooks settle where MLflow keeps its runs."""
    from kedro.framework.session import KedroSession
    from kedro.utils import find_kedro_project

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    with KedroSession.create(project_path=project, env=env) as session:
        return session.load_context()
