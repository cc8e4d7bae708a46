"""`kedro ruri recipe`: a recipe for a file of one's own, which then runs as any other."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chat_server import ChatServer, answer
from click.testing import CliRunner
from cut_project import SAMPLE, own_environment, read, run_kedro
from doc_snippets import snippets
from kedro.config import OmegaConfigLoader
from kedro_project import REPOSITORY
from recipes import recipe
from tiny import tiny_encoder

from ruri_kedro.benchmark.tasks.load import load_task
from ruri_kedro.cli.commands import cli
from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.recipe.blocks import faults_in
from ruri_kedro.settings import CONFIG_LOADER_ARGS
from ruri_kedro.text.normalize import normalize

QUESTIONS = read(SAMPLE / "questions/train.jsonl.gz")[:60]
NEWS = read(SAMPLE / "news/train.jsonl.gz")[:60]
REAL = REPOSITORY.parent / "shared"


def write_csv(path: Path, rows: list[dict], names: dict[str, str]) -> None:
    """A CSV file whose columns have other names than the fields of the rows."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(names.values())
        writer.writerows([row[field] for field in names] for row in rows)


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The project with files of a user."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(REPOSITORY / "conf", folder / "conf")
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    (folder / "src").mkdir()
    write_csv(folder / "faq.csv", QUESTIONS, {"title": "品名", "question": "質問", "context": "Answer"})
    write_lines(folder / "news.jsonl", NEWS)
    return folder


@pytest.fixture
def said(root, monkeypatch):
    """What `kedro ruri recipe` says, with its exit code."""
    from kedro.framework.startup import bootstrap_project

    monkeypatch.chdir(root)
    bootstrap_project(root)

    def ask(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["ruri", "recipe", *words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return ask


def parameters(root: Path, env: str) -> dict:
    return OmegaConfigLoader(conf_source=str(root / "conf"), env=env, **CONFIG_LOADER_ARGS)["parameters"]


def test_questions_become_a_recipe_that_differs_from_e5_in_its_texts_only(root, said):
    code, text = said("own", "--questions", "faq.csv", "--field", "title=品名")
    assert code == 0 and "faq.csv (question: 質問, passage: Answer, title: 品名) is parted by title" in text
    assert text.endswith("Next:\n  kedro run --env own --pipelines data_engineering\n  kedro run --env own\n")
    own, e5 = parameters(root, "own"), recipe("e5")
    assert list(faults_in(own)) == []
    assert (own["recipe"], own["promotion"]["model"], own["base_model"]) == (
        "own-12l", "ruri-own-12l", e5["base_model"])  # fmt: skip
    own_keys = {"recipe", "sources", "tasks", "promotion"} | {
        key for key in e5 if key.startswith("_") and key != "_sizes"
    }
    copied = {key for key in e5.keys() - own_keys if e5[key] == recipe(None).get(key) or "/e5" not in str(e5[key])}
    assert own["finetuning"].pop("batch_by") == {"questions": "title"} != e5["finetuning"].pop("batch_by")
    assert {key for key in copied if own[key] != e5[key]} == set()
    assert list(own["sources"]["questions"]["stages"]) == ["finetuning"]
    small = OmegaConfigLoader(
        conf_source=str(root / "conf"), env="own",
        runtime_params={"budget": "quick", "size": "4l", "teacher": "reranker"}, **CONFIG_LOADER_ARGS,
    )["parameters"]  # fmt: skip
    assert small["sources"]["questions"]["stages"]["reranking_stage1"]["max_rows"] == 1000
    assert small["base_model"]["layers"] == [0, 9, 10, 11]


def test_documents_become_a_recipe_with_or_without_a_language_model(root, said):
    code, text = said("news", "--documents", "news.jsonl")
    assert code == 0 and "news.jsonl (title: title, text: text) is parted by title" in text
    assert list(parameters(root, "news")["sources"]) == ["titles", "sentences"]
    code, text = said("asked", "--documents", "news.jsonl", "--synthesis", "swallow")
    assert code == 0 and "kedro run --env asked --pipelines synthesis\n" in text
    own = parameters(root, "asked")
    assert list(own["sources"]) == ["titles", "sentences", "questions"]
    assert own["synthesis"]["model"]["name"] == "swallow" and own["synthesis"]["sets"]["autowikinli"]["count"] == 0
    for env in ("news", "asked"):
        assert list(faults_in(parameters(root, env))) == []


def test_texts_of_one_sentence_give_no_source_of_sentences(root, said):
    write_lines(root / "short.jsonl", [{"title": f"題{n}", "text": f"{n}番の文。"} for n in range(40)])
    assert said("short", "--documents", "short.jsonl")[0] == 0
    assert list(parameters(root, "short")["sources"]) == ["titles"]


def test_a_name_that_yaml_reads_as_something_else_is_written_in_quotes(root, said):
    assert said("2024", "--documents", "news.jsonl")[0] == 0
    assert parameters(root, "2024")["recipe"] == "2024-12l"


REFUSED = {
    "": "give either --questions FILE or --documents FILE.",
    "--questions faq.csv --documents news.jsonl": "give either --questions FILE or --documents FILE.",
    "--questions nowhere.csv": "nowhere.csv: no such file. Name one of the forms .jsonl",
    "--questions none.csv": "none.csv: the file has no rows.",
    "--questions odd.csv": "no column of a usual name is the question. There are: frage, antwort. "
    "Name it: --field question=COLUMN",
    "--questions odd.csv --field question=frag": "--field question=frag: there is no such column. There are: frage, ",
    "--questions odd.csv --field quest=frage": "'quest' is unknown. Allowed: question, passage, title.",
    "--questions odd.csv --field frage": "--field frage: NAME=COLUMN is expected",
    "--questions odd.csv --field question=frage --field passage=antwort": "too few rows, 1 that differ; 20 or more",
    "--questions blank.csv": "blank.csv, row 2, field 'answer': empty text.",
    "--questions faq.csv --from e6": "--from e6: there is no folder",
    "--questions faq.csv --from mini": "--from mini: parameters.yml there cannot be copied",
    "--questions faq.csv --from ruri": "its `recipe` is not made of ${globals:recipe}. Name e5.",
    "--questions faq.csv --from local": "--from local: parameters.yml there cannot be",
    "--questions faq.csv --synthesis swallow": "--synthesis writes questions about --documents.",
    "--documents faq.csv": "no column of a usual name is the title.",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_refused_in_a_line_and_writes_nothing(root, said, words):
    (root / "none.csv").write_text("question,answer\n", "utf-8")
    (root / "odd.csv").write_text("frage,antwort\na,b\n", "utf-8")
    (root / "blank.csv").write_text("question,answer\na,\n", "utf-8")
    code, text = said("refused", *words.split())
    assert code == 1 and REFUSED[words] in text and text.count("\n") == 1
    assert not (root / "conf/refused").exists() and not (root / "data/01_raw/refused").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mini", "conf/mini is there already. Remove it, or give the recipe another name."),
        ("a/b", "the name 'a/b' is not allowed."),
        ("reranker-faq", "'reranker-faq' would register its embedder as ruri-reranker-faq"),
    ],
)
def test_names_that_are_taken_or_cannot_be(said, name, message):
    code, text = said(name, "--questions", "faq.csv")
    assert code == 1 and message in text and text.count("\n") == 1


def test_the_same_file_is_parted_in_the_same_way(root, said):
    for name in ("one", "two"):
        assert said(name, "--questions", "faq.csv")[0] == 0
    first, second = (sorted((root / "data/01_raw" / name / "split").iterdir()) for name in ("one", "two"))
    assert len(first) == 4 and [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


COMMANDS = """
import sys
from pathlib import Path
from kedro.framework.cli.cli import KedroCLI
for words in sys.argv[1].split(";"):
    sys.argv = ["kedro", *words.split()]
    try:
        KedroCLI(Path.cwd()).main()
    except SystemExit as end:
        if end.code:
            raise
"""


def kedro_in_one_process(root: Path, *commands: str) -> str:
    """What the commands say, of which each must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, ";".join(commands)],
        cwd=root, env=own_environment(), text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_data_of_questions_are_made_and_the_trainings_estimated(root, said):
    assert said("q", "--questions", "faq.csv", "--field", "title=品名")[0] == 0
    tiny_encoder().save_pretrained(str(root / "tiny"))
    dry = "run --env q --params dry_run=true,base=tiny,teacher=reranker"
    text = kedro_in_one_process(root, "run --env q --pipelines data_engineering", dry)
    # All is estimated before anything was searched: random negatives stand in for those to come.
    assert "Not everything can be estimated" not in text and text.count("negatives have not been searched yet") == 3
    for step in ("BM25 index of", "BM25 search of", "vectors of", "dense search of"):
        assert re.search(rf"^{step} questions +[\d,]+ (passages|queries) +[\d.]+ (s|min)", text, re.MULTILINE), step
    assert re.search(r"^teacher's scores for finetuning +[\d,]+ pairs", text, re.MULTILINE)
    for stage in ("reranking_stage1", "reranking_stage2", "finetuning"):
        assert re.search(rf"^ *{stage} +[1-9]", text, re.MULTILINE), stage
    assert "on one device" in text and "Dry run: nothing was trained" in text
    assert not (root / "data/05_model_input/q").exists()
    assert parts_of(root, "q") == ["questions"]
    with (root / "data/08_reporting/q/versions/leaks.csv").open(encoding="utf-8") as file:
        leaks = list(csv.DictReader(file))
    assert {row["role"] for row in leaks} == {"passage"}, "no question of the test is trained on"
    assert sum(int(row["removed"]) for row in leaks) == 0


def test_the_sources_of_documents_have_pairs_on_both_sides(root, said):
    assert said("d", "--documents", "news.jsonl")[0] == 0
    raw = root / "data/01_raw/d"
    for source in parse_sources(parameters(root, "d")["sources"]).values():
        assert {split for split, _ in drafts(source, raw)} == {"train", "validation"}
    task = load_task("titles", parameters(root, "d")["tasks"]["titles"], raw)
    assert len(task.queries) == 12 and set(task.queries.values()) < {normalize(row["title"]) for row in NEWS}


def parts_of(root: Path, env: str) -> list[str]:
    """The sources that have pairs."""
    return sorted(json.loads((root / f"data/03_primary/{env}/pairs/manifest.json").read_text("utf-8"))["parts"])


@pytest.mark.slow
def test_a_language_model_asks_about_training_documents_only(root, said):
    assert said("written", "--documents", "news.jsonl", "--synthesis", "swallow")[0] == 0
    chat = ChatServer()
    chat.reply = answer
    kedro_in_one_process(
        root,
        f"run --env written --pipelines synthesis --params synthesis.model.base_url={chat.url}",
        "run --env written --pipelines data_engineering",
    )
    chat.close()
    assert parts_of(root, "written") == ["questions", "sentences", "titles"]
    tested = {row["query"] for row in read(root / "data/01_raw/written/split/test.jsonl.gz")}
    assert chat.prompts() and not any(title in prompt for title in tested for prompt in chat.prompts())


def test_the_tutorial_shows_what_the_command_says(root, said):
    page = list(snippets("docs/tutorial.md"))
    (root / "data").mkdir(exist_ok=True)
    (file,) = (snippet for snippet in page if snippet.file)
    (root / file.file).write_text(file.text, "utf-8")
    (command,) = (command for snippet in page for command in snippet.commands if "recipe faq" in command)
    assert said(*command.split()[3:]) == (0, next(found.text for found in page if found.text.startswith("conf/faq is")))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_real_model_is_adapted_to_questions(tmp_path):
    """The whole run on real questions; that a model learns from so few is not asked."""
    model, data = REAL / "models/multilingual-e5-small-ja-4l", REAL / "data/ja/jsquad/valid.jsonl.gz"
    if not (model.exists() and data.exists()):
        pytest.skip("no multilingual-e5-small in ../shared/models, or no JSQuAD in ../shared/data")
    shutil.copytree(REPOSITORY / "conf", tmp_path / "conf")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    (tmp_path / "src").mkdir()
    write_lines(tmp_path / "jsquad.jsonl", read(data)[::110])
    run_kedro(tmp_path, "ruri", "recipe", "own", "--questions", "jsquad.jsonl")
    run_kedro(tmp_path, "run", "--env", "own", "--params", f"base={model},teacher=reranker")
    (file,) = (tmp_path / "data/08_reporting/own/versions/12l/metrics.json").glob("*/metrics.json")
    scores = json.loads(file.read_text("utf-8"))
    assert {"bm25", "base", "finetuned", "reranker"} <= scores.keys()
    assert scores["base"]["questions/ndcg@10"] > 0.3 and scores["finetuned"]["questions/ndcg@10"] > 0.3
