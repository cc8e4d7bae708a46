"""What cannot work is refused, in one message, before the libraries are imported that a run would need."""

import json
import shutil
import subprocess
import sys

import pytest
from cut_project import make_cut_project, own_environment
from kedro_project import empty_store

# Several commands one after the other in one process: what one of them imports, all after it would be seen to have.
PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
from kedro.framework.cli.cli import KedroCLI
HEAVY = ("torch", "transformers", "sentence_transformers", "mlflow", "datasets", "mteb", "faiss", "scipy", "matplotlib")
found = []
for words in json.loads(sys.argv[1]):
    sys.argv, said, code = ["kedro", *words], io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            KedroCLI(Path.cwd()).main()
    except SystemExit as end:
        code = end.code
    found.append([code, said.getvalue(), [name for name in HEAVY if name in sys.modules]])
print(json.dumps(found))
"""

REFUSED = {
    "run --pipelines finetuning": "reranker: made by the pipeline 'reranking'. Run: kedro run --pipelines reranking",
    "run --params raw_root=nowhere": "nowhere is not there. Restore it",
    "run --params sed=7": "--params sed: there is no such parameter. Did you mean seed?",
    "run --env mimi": "--env mimi: there is no folder",
    "run --pipelines finetunin": "--pipelines finetunin: there is no such pipeline. Did you mean finetuning?",
    "run --pipeline evaluate": "--pipelines evaluate: there is no such pipeline. Did you mean evaluation?",
    "run --nodes finetun": "--nodes finetun: the run has nothing of this name. Did you mean finetune?",
    "run --from-nodes pretrian": "--from-nodes pretrian: the run has nothing of this name. Did you mean pretrain?",
    "run --nodes finetuning.finetune": "pretrained_model: made by the pipeline 'pretraining'. Run: kedro run",
    "run --nodes finetune": "pretrained_model: made by the pipeline 'pretraining'. Run: kedro run",
    "run --from-nodes report": "--from-nodes report: the run has nothing of this name. Did you mean",
    "run --to-outputs embeder": "--to-outputs embeder: the run has nothing of this name. Did you mean embedder?",
    "run --pipelines promotion": "No model is registered yet: ",
    "ruri promote": "No model is registered yet: ",
    "ruri lineage ruri-sample@champion": "No model is registered yet: ",
    "run --pipelines pretraining --params sources=none": "sources: 'none' is given, a block of keys is expected",
    "ruri fetch ruri-sample --out served": "No model is registered yet: ",
    "ruri compare": "no score table here. Run: kedro run --pipelines evaluation",
    "ruri compare --model x": "model 'x': no complete score table in ",
    "ruri evaluate --model nonsense --out results": "model 'nonsense': no folder of this name.",
    "ruri evaluate --benchmark recipe --model bm25 --out results": "no tasks are read yet. Run: kedro run",
}
OF_THE_REGISTRY = {
    "ruri fetch ruri-sample@champion --out served": "'ruri-sample' has no 'champion'.",
    "ruri lineage nothing": "'nothing' has no 'champion' or 'challenger'.",
    "ruri evaluate --model models:/nothing@champion --out results": "'nothing' has no 'champion'.",
    "run --pipelines promotion": "'ruri-sample': no version has the alias 'challenger'.",
    "ruri promote": "'ruri-sample': no version has the alias 'challenger'.",
}


def refused(project, commands) -> list[list]:
    """Exit code, output and heavy modules of each command."""
    words = json.dumps([command.split() for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, words], cwd=project, env=own_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_cut_project(tmp_path_factory.mktemp("project"))


def test_what_cannot_work_is_one_message_without_a_heavy_import(project):
    *answers, status = refused(project, [*REFUSED, "ruri status"])
    for (command, message), (code, said, heavy) in zip(REFUSED.items(), answers, strict=True):
        assert (code, heavy) == (1, []), (command, said)
        assert said.startswith("Error: ") and message in said and "Traceback" not in said, (command, said)
    assert status == [0, "No model is registered yet. Run: kedro run\n", []]
    assert not (project / "mlflow.db").exists()  # what is refused leaves nothing behind


def test_what_the_registry_has_not_is_one_message_without_torch(project):
    shutil.copy(empty_store(), project / "mlflow.db")
    first, *answers, status, mlflow = refused(
        project, ["ruri status", *OF_THE_REGISTRY, "ruri status", "mlflow --help"]
    )
    (project / "mlflow.db").unlink()
    for (command, message), (code, said, heavy) in zip(OF_THE_REGISTRY.items(), answers, strict=True):
        assert code == 1 and message in said and "Traceback" not in said, (command, said)
        assert not {"torch", "transformers", "sentence_transformers"} & set(heavy), command
    assert first == [0, "No model is registered yet. Run: kedro run\n", []], "MLflow is not imported to say so"
    assert status[:2] == [0, "No model is registered yet. Run: kedro run\n"] and "torch" not in status[2]
    assert mlflow[0] == 0 and "modelify" in mlflow[1]  # kedro-mlflow's commands are there when they are asked for
