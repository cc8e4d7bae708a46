# ruff: noqa: E501 - commands stand here as they stand on their pages
"""The fenced commands and snippets of README.md and docs/, and how each of them is tried."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kedro_project import REPOSITORY

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"`((?:conf/(?!base/)|data/)[^`<]+\.\w+)`")
# A block without a language whose first word is one of these holds commands; others show output or a file.
PROGRAMS = ("make", "kedro", "python", "pip", "dvc", "mlflow", "curl", "vllm", "createdb", "export", ".", "hf", "git")
_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?:{'|'.join(map(re.escape, PROGRAMS))}) ")


@dataclass(frozen=True)
class Snippet:
    """A fenced block. `file` is the place that the paragraph above it names, where it is the text of a file."""

    page: str
    language: str
    text: str
    file: str | None

    @property
    def commands(self) -> list[str]:
        """The commands of the block as they are written, without what is said beside them."""
        if self.language or not _COMMAND.match(self.text):
            return []
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [re.split(r"\s+# ", line)[0].strip() for line in joined.splitlines() if line.strip()]


def snippets(page: str) -> Iterator[Snippet]:
    """The fenced blocks of a page, in order; the paragraph above one may end by naming the file that it is."""
    text = (REPOSITORY / page).read_text("utf-8")
    end = 0
    for found in _FENCE.finditer(text):
        above = text[end : found.start()].strip().rpartition("\n\n")[2]
        places = _PLACE.findall(above) if above.endswith(":") else []
        end = found.end()
        yield Snippet(page, found[1], found[2], places[0] if places else None)


def named(snippet: Snippet) -> str:
    """What a list of exceptions calls a snippet that is not a command: its first line."""
    return snippet.text.strip().splitlines()[0].strip()


@dataclass(frozen=True)
class Served:
    """A server: started, asked until it answers, stopped. The port is another one than written: that may be taken."""

    address: str  # with {port}
    option: str = "--port"


@dataclass(frozen=True)
class Instead:
    """Another command in its place, and why."""

    command: str
    reason: str


@dataclass(frozen=True)
class Elsewhere:
    """It is not run here; `test` is the file that runs it or, as far as it can be, what it does, and why."""

    test: str
    reason: str


@dataclass(frozen=True)
class Filled:
    """Run as written, with these in place of what a user fills in; `before` is done first, `status` how it may end."""

    values: dict[str, str]
    before: str = ""
    status: tuple[int, ...] = (0,)


OWN_ENVIRONMENT = "makes an environment and installs all packages; the run itself is done here on the cut corpus"
HUB = "models and data of the hub, which the test has not"
SERVER = "PostgreSQL, logins and another machine's address"
SCORES = "data/07_model_output/sample/versions/scores/finetuned"
RUNS = "data/07_model_output/sample/versions/runs/questions"
REFUSED = Filled({}, status=(0, 1))  # an equal challenger is refused, which the page says

# By page and command, or by page and first line of any other snippet. What is not listed is run as it is written.
LISTED: dict[tuple[str, str], Served | Instead | Elsewhere | Filled] = {
    ("README.md", "make run"): Instead("kedro run", OWN_ENVIRONMENT),
    ("README.md", "make test"): Elsewhere("Makefile", "it runs these very tests"),
    ("README.md", "ruri-kedro new my-project               # conf/, data/, dvc.yaml, pyproject.toml"): Elsewhere(
        "tests/test_new.py", "the installed package, in an environment of its own"
    ),
    ("README.md", ".venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db"): Served(
        "http://127.0.0.1:{port}/health"
    ),
    ("README.md", ".venv/bin/kedro viz run"): Served("http://127.0.0.1:{port}/api/version"),
    ("docs/index.md", "make run"): Instead("kedro ruri status", OWN_ENVIRONMENT),
    ("docs/index.md", "mlflow ui --backend-store-uri sqlite:///mlflow.db"): Served("http://127.0.0.1:{port}/health"),
    ("docs/index.md", "kedro viz run"): Served("http://127.0.0.1:{port}/api/version"),
    ("docs/index.md", "python -m ruri_kedro.corpora.fetch mini"): Elsewhere(
        "tests/corpora/test_fetch.py", "the homes of the corpora; there they are on a local server"
    ),
    **{
        ("docs/recipes.md", f"kedro ruri pin --env ruri{more}"): Elsewhere(
            "tests/test_cli_pin.py", "the hub; there it is a local server"
        )
        for more in ("", " --check")
    },
    ("docs/tour.md", "kedro viz run"): Served("http://127.0.0.1:{port}/api/version"),
    ("docs/tour.md", "mlflow ui --backend-store-uri sqlite:///mlflow.db"): Served("http://127.0.0.1:{port}/health"),
    **{
        ("docs/ablations.md", f"kedro run {options}"): Elsewhere(
            "tests/test_ablations_pipeline.py", "an hour of trainings"
        )
        for options in (
            "--pipelines ablations",
            '--env mini --pipelines ablations --params "ablations.only=table6 table7"',
            '--pipelines ablations --params "ablations.seeds=42 43"',
        )
    },
    **{
        ("docs/sweeps.md", f"kedro run --env simcse-mini --pipelines sweep{more}"): Elsewhere(
            "tests/test_sweep_pipeline.py", "hours of trainings; there it is a small recipe"
        )
        for more in ("", " --params dry_run=true")
    },
    ("docs/simcse.md", "kedro run --env simcse --params set=jsnli"): Elsewhere(
        "tests/test_sweep_pipeline.py", "models and corpora of the hub; there they are small ones"
    ),
    ("docs/sweeps.md", "kedro ruri sweep-report --results all.csv --out best.csv"): Elsewhere(
        "tests/experiments/test_selection.py", "a file of results; there it is the published one, or a small one"
    ),
    **{
        ("docs/evidence.md", f"kedro ruri score-runs --runs <folder> --qrels <file> --out scores.json{more}"): Filled(
            {"<folder>": RUNS, "<file>": f"{RUNS}/qrels.trec.gz"}
        )
        for more in ("", " --compare bm25")
    },
    ("docs/evidence.md", "kedro ruri compare --model old=<folder> --model new=<folder>"): Filled({"<folder>": SCORES}),
    (
        "docs/evidence.md",
        "kedro ruri compare --model bm25 --model tuned=kept/1 --model tuned=kept/2 --model tuned=kept/3",
    ): Filled({}, before=f"mkdir -p kept && for seed in 1 2 3; do cp -r {SCORES} kept/$seed; done"),
    (
        "docs/evidence.md",
        "kedro ruri evaluate --benchmark recipe --model <owner>/<model>@<commit> --prompts e5 --task jqara --out results",
    ): Instead(
        "kedro ruri evaluate --benchmark recipe --model $(ls -d data/06_models/sample/versions/embedder/*/embedder | tail -1)"
        " --prompts e5 --task sts --out results",
        HUB,
    ),
    **{
        ("docs/evidence.md", f"kedro ruri evaluate --model {rest} --out results"): Elsewhere(
            "tests/test_cli_evaluate.py", HUB
        )
        for rest in (
            "data/06_models/<recipe>/<...>/embedder",
            "models:/ruri-mini@challenger",
            "<owner>/<model>@<commit> --prompts e5",
            'ai-forever/ru-en-RoSBERTa@<commit> --prompts ru-en-rosberta --benchmark "MTEB(rus, v1)"',
        )
    },
    **{
        (
            "docs/evidence.md",
            f"kedro ruri evaluate --env jacolbert --benchmark recipe --model {rest} --out results",
        ): Elsewhere("tests/test_cli_judge.py", HUB)
        for rest in (
            "bm25",
            "intfloat/multilingual-e5-small@<commit> --prompts e5",
            "models:/ruri-jacolbert@challenger",
        )
    },
    **{
        ("docs/scaling.md", f"kedro ruri index {rest}"): Elsewhere(
            "tests/test_cli_index.py", "a model of token vectors"
        )
        for rest in (
            "build passages.jsonl.gz --model <folder> --out index",
            "add index more.jsonl.gz --model <folder>",
            "delete index <docid> <docid>",
            'search index "日本の首都は?" --model <folder>',
        )
    },
    ("docs/scaling.md", "from ruri_kedro.search.multi_vector.retriever import MultiVectorRetriever"): Elsewhere(
        "tests/search/test_retriever.py", "a model of token vectors"
    ),
    (
        "docs/evidence.md",
        "kedro ruri compare --model old=results/scores/<model>/<revision> --model new=results/scores/<model>/<revision>",
    ): Instead("kedro ruri compare --model old=results/bm25/scores --model new=results/bm25/scores", HUB),
    ("docs/promotion.md", "kedro ruri promote"): REFUSED,
    ("docs/promotion.md", "kedro ruri promote --model ruri-reranker-sample"): REFUSED,
    ("docs/promotion.md", "kedro ruri promote --version 3 --dry-run"): REFUSED,
    (
        "docs/publication.md",
        "kedro ruri publish model ruri-sample@champion --out release/model --repo <owner>/<name>",
    ): Filled({"<owner>/<name>": "team/model"}),
    ("docs/publication.md", "kedro ruri publish dataset --out release/data --repo <owner>/<name>"): Filled(
        {"<owner>/<name>": "team/data"}
    ),
    ("docs/service.md", "model: ruri-sample/1 (champion)"): Elsewhere(
        "tests/service/test_serve_command.py", "what the command says"
    ),
    ("docs/service.md", "ruri-kedro serve --model <folder of a model> --collection documents.csv"): Elsewhere(
        "tests/service/test_serve_command.py", "a folder and a file, outside of a project"
    ),
    ("docs/service.md", "kedro ruri serve"): Served("http://127.0.0.1:{port}/healthz"),
    (
        "docs/service.md",
        "kedro ruri score-runs --runs <folder of runs> --qrels data/01_raw/sample/judgments/questions/task/qrels.tsv "
        "--out scores.json",
    ): Elsewhere("tests/service/test_judgments.py", "judgments of a person"),
    (
        "docs/service.md",
        "curl -s http://127.0.0.1:8000/v1/embeddings -H 'Content-Type: application/json' "
        """-d '{"input": "富士山の高さは？", "prompt_name": "query"}'""",
    ): Elsewhere("tests/service/test_compatible.py", "it asks the service, which the commands above have ended"),
    ("docs/serving.md", "mlflow models serve --model-uri served --env-manager local --port 5001"): Elsewhere(
        "tests/registry/test_serving.py", "it asks the server that it starts"
    ),
    (
        "docs/serving.md",
        "curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' "
        """-d '{"inputs": ["富士山の高さは？"], "params": {"prompt_name": "query"}}'""",
    ): Elsewhere("tests/registry/test_serving.py", "it asks the server that it starts"),
    ("docs/serving.md", "pip install 'ruri-kedro[onnx]'"): Elsewhere(
        "pyproject.toml", "installs packages, which are there"
    ),
    **{
        ("docs/containers.md", command): Elsewhere("tests/test_package_files.py", "a container engine, or a plug-in")
        for command in (
            "make image",
            "make image DEVICE=cuda",
            "docker compose up --detach mlflow",
            "kedro airflow create --pipelines __default__ --group-by memory --target-dir dags",
        )
    },
    (
        "docs/engines.md",
        "kedro ruri index load exported/lancedb --into exported/db --check",
    ): Filled({}, status=(0, 1)),  # of weights that nobody has trained all cosines are alike
    **{
        ("docs/engines.md", first): Elsewhere("tests/search/test_retriever_examples.py", "it needs a model and a table")
        for first in ("WITH by_vector AS (", "from typing import Any")
    },
    ("docs/synthesis.md", "vllm serve <model> --port 8000"): Elsewhere(
        "tests/support/chat_server.py", "a GPU; a server with its API stands in"
    ),
    ("docs/synthesis.md", "kedro run --pipelines synthesis --params synthesis.model.name=<model>"): Filled(
        {"<model>": "swallow"}
    ),
    ("docs/training.md", "kedro run --env ruri --params size=small,dry_run=true --pipelines reranking"): Instead(
        "kedro run --params dry_run=true --pipelines reranking", HUB
    ),
    **{
        (
            "docs/training.md",
            f"PET_NNODES=2 PET_NODE_RANK={rank} PET_MASTER_ADDR=host0 PET_MASTER_PORT=29500 kedro run --pipelines pretraining",
        ): Elsewhere("tests/training/test_processes.py", "two hosts; there two processes of one")
        for rank in (0, 1)
    },
    (
        "docs/tutorial.md",
        "conf/faq is a recipe now, with the parameters of conf/e5.",
    ): Elsewhere("tests/test_own_recipe.py", "shows what a command prints"),
    **{
        ("docs/tutorial.md", f"kedro run --env faq{more}"): Instead(
            # Cosines of weights that nobody has trained are all alike.
            f"kedro run --env faq --params base=tiny,mining.supervised.max_score_ratio=1.0{given}",
            HUB,
        )
        for more, given in (("", ""), (" --params dry_run=true", ",dry_run=true"))
    },
    ("docs/tutorial.md", "kedro ruri promote --env faq --size 12l"): REFUSED,
    **{
        ("docs/tutorial.md", command): Elsewhere("tests/test_own_recipe.py", "a language model; a stand-in there")
        for command in (
            "kedro ruri recipe asked --from e5 --documents data/01_raw/sample/news/train.jsonl.gz --synthesis <model>",
            "kedro run --env asked --pipelines synthesis",
            "kedro run --env asked",
        )
    },
    **{
        ("docs/server.md", command): Elsewhere("tests/test_server.py", SERVER)
        for command in (
            "pip install 'ruri-kedro[server]'",
            "createdb mlflow && createdb mlflow_auth",
            "[mlflow]",
            "export MLFLOW_AUTH_CONFIG_PATH=auth.ini",
            "export MLFLOW_FLASK_SERVER_SECRET_KEY=<a long random text>",
            "export MLFLOW_AUTH_ADMIN_PASSWORD=<of the first start; 12 characters or more>",
            "mlflow server --app-name basic-auth --host 127.0.0.1 --port 5000 --backend-store-uri "
            "postgresql+psycopg2://mlflow:<password>@localhost/mlflow --artifacts-destination ./artifacts",
            "import os",
            "export MLFLOW_TRACKING_URI=http://127.0.0.1:5000 MLFLOW_TRACKING_USERNAME=trainer MLFLOW_TRACKING_PASSWORD=...",
            "kedro run --env mini",
            "kedro ruri promote --env mini",
            "kedro ruri rollback --env mini",
            "kedro ruri fetch ruri-mini-released@champion --out served",
        )
    },
    (
        "docs/lineage.md",
        "81a52c0b70cc374f78c4c025: a text of the source 'questions', 郵便船の回廊 / 発表と反響",
    ): Elsewhere("tests/test_docs_commands.py", "shows what a command prints"),
    (
        "docs/languages.md",
        "kedro run --env ru-en-mini --params base=models/japanese,tokenizer=models/russian",
    ): Elsewhere("tests/test_recipes.py", "needs a model and data sets that the reader has"),
    (
        "docs/languages.md",
        "kedro ruri evaluate --env ru-en-mini --benchmark recipe --model models/japanese --out results",
    ): Elsewhere("tests/test_cli_judge.py", "needs a model and data sets that the reader has"),
}

# YAML that shows a part of a recipe: the whole that it is a part of.
FRAGMENTS = {
    ("docs/recipes.md", "hub: {id: hotchpotch/JQaRA, revision: <commit>, split: dev+unused}"): "a source",
    ("docs/recipes.md", "finetuning: {negatives: rrf, window: {first: 30, last: 100}, count: 15}"): "stages",
    ("docs/languages.md", "adaptation: {negatives: given}"): "stages",
}
