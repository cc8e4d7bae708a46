"""What a name may be: it becomes a folder, a metric of MLflow and a registered model, on every system."""

import unicodedata

import pytest
from mlflow.utils.validation import _validate_metric_name, _validate_model_name

from ruri_kedro.benchmark.tasks.specs import check_task_names
from ruri_kedro.errors import RecipeError
from ruri_kedro.text.names import check_name, check_names, listed_names

ALLOWED = ["faq", "FAQ_2024-v2", "2024", "_x", "商品のよくある質問", "каталог", "ｶﾞｲﾄﾞ", "人々ー", "が" * 42]


@pytest.mark.parametrize("name", ALLOWED)
def test_an_allowed_name_is_one_for_mlflow_and_for_a_file(name, tmp_path):
    check_names("sources", [name])
    _validate_metric_name(f"metrics/finetuned/{name}_rerank/ndcg_at_10")
    _validate_model_name(f"ruri-reranker-{name}")
    (tmp_path / f".writing-{name}_rerank-old-01234567").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [f".writing-{name}_rerank-old-01234567"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "'a/b' is not allowed. A name has letters of any script, digits, _ and -. Rename it"),
        ("../x", "'../x' is not allowed"),
        ("a\\b", r"'a\\\\b' is not allowed"),
        (".hidden", "'.hidden' is not allowed"),
        ("shop:v2", "'shop:v2' is not allowed"),
        ("", "'' is not allowed"),
        ("a b", "is not allowed"),
        ("a.b", "is not allowed"),
        ("a\n", r"'a\\n' is not allowed"),
        ("-x", "'-x' begins with '-'"),
        (unicodedata.normalize("NFD", "がいど"), "voicing marks stand apart from their letters"),
        ("が" * 43, "has 129 bytes in UTF-8, allowed are 128"),
        (
            False,
            r"YAML reads the name false as true or false \(as it does yes, no, on and off\). Write the name in quot",
        ),
        (2024, "YAML reads the name 2024 as a number. Write the name in quotes"),
        (1.5, "as a number"),
        (None, "a name is missing, or YAML reads it as null"),
    ],
)
def test_what_is_not_a_name_is_said_with_the_remedy(name, said):
    with pytest.raises(RecipeError, match=f"^sources: .*{said}"):
        check_names("sources", ["faq", name])


def test_a_name_of_others_may_have_dots_inside():
    check_name("table", "LivedoorNewsClustering.v2", dots=True)
    for name in ("..", ".hidden", "a/b.c"):
        with pytest.raises(RecipeError):
            check_name("table", name, dots=True)


def test_names_that_are_one_file_on_macos_and_windows_are_refused():
    with pytest.raises(RecipeError, match=r"sources\.FAQ: differs from 'faq' in upper and lower case only"):
        check_names("sources", {"faq": 1, "FAQ": 2})


@pytest.mark.parametrize("kind", ["sts", "reranking", "retrieval"])
@pytest.mark.parametrize("name", ["man_rerank", "Man_Rerank"])
def test_the_name_of_a_tasks_reordering_is_taken(name, kind):
    with pytest.raises(RecipeError, match=f"tasks.{name}: this name is taken by the reordering of .* of 'man'"):
        check_task_names({"man": {"type": "retrieval"}, name: {"type": kind}})


def test_only_what_is_derived_is_taken():
    check_task_names({"man": {"type": "sts"}, "man_rerank": {"type": "sts"}})
    check_task_names({"faq_rerank": {"type": "reranking"}})


@pytest.mark.parametrize(
    ("given", "names"),
    [(None, []), ("", []), ("a, b c", ["a", "b", "c"]), (2024, ["2024"]), (["a", "b c"], ["a", "b c"]),
     (unicodedata.normalize("NFD", "が"), ["が"])],
)  # fmt: skip
def test_names_in_a_text(given, names):
    assert listed_names("only", given) == names


def test_what_holds_no_names_is_said():
    with pytest.raises(RecipeError, match="only: False given"):
        listed_names("only", False)
