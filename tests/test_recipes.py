"""The recipes of the paper (Ruri, arXiv 2409.07737) hold the paper's numbers, each with its place there."""

import pytest
from kedro_project import REPOSITORY
from recipes import SIZES, SIZES_OF, at, recipe, sized, written

from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.recipe.stages import rows_of


def by_size(*values):
    """A number for each size of model."""
    return dict(zip(SIZES, values, strict=True))


LARGE = "cl-nagoya/ruri-reranker-large"
# (place in the paper, parameter, value); a value by size is a dict.
NUMBERS = [
    ("Table 2", "base_model.name", by_size(
        "line-corporation/line-distilbert-base-japanese", "tohoku-nlp/bert-base-japanese-v3",
        "tohoku-nlp/bert-large-japanese-v2")),
    ("Section 2.4", "prompts", {"query": "クエリ: ", "document": "文章: "}),
    ("Section 2.4", "pretraining.freeze_position_embeddings", True),
    ("Table 14", "pretraining.learning_rate", by_size(1e-4, 5e-5, 3e-5)),
    ("Table 14", "pretraining.max_length", by_size(256, 256, 192)),
    ("Table 14", "pretraining.batch_size", 8192),
    ("Table 14", "pretraining.warmup_ratio", 0.1),
    ("Table 14", "pretraining.epochs", 1),
    ("Table 14", "pretraining.temperature", 0.01),
    ("Table 14", "pretraining.weight_decay", 0.01),
    ("Table 14", "pretraining.homogeneous", True),
    ("Table 14", "pretraining.shuffle_positives", True),
    ("Table 14", "mining.pretraining.negatives", 1),
    ("Table 14", "finetuning.learning_rate", by_size(1e-5, 5e-6, 3e-6)),
    ("Table 14", "finetuning.max_length", 512),
    ("Table 14", "finetuning.batch_size", 512),
    ("Table 14", "finetuning.warmup_ratio", 0.1),
    ("Table 14", "finetuning.epochs", 1),
    ("Table 14", "finetuning.temperature", 0.01),
    ("Table 14", "finetuning.weight_decay", 0.01),
    ("Table 14", "finetuning.homogeneous", True),
    ("Table 14", "mining.supervised.negatives.finetuning", 15),
    ("Section 4.1", "finetuning.threshold", 0.8),
    ("Section 4.1", "finetuning.teacher.name", by_size(LARGE, LARGE, None)),  # large: its own reranker
    ("arXiv 2407.20750", "finetuning.distillation_temperature", 1.0),  # no temperature in the loss that is followed
    *[("Table 15", f"reranking.{stage}.{name}", value) for stage in ("stage1", "stage2") for name, value in
      {"warmup_ratio": 0.1, "epochs": 1, "weight_decay": 0.01}.items()],
    ("Table 15", "reranking.stage1.learning_rate", by_size(1e-4, 5e-5, 3e-5)),
    ("Table 15", "reranking.stage1.max_length", 256),
    ("Table 15", "reranking.stage1.batch_size", 512),
    ("Table 15", "reranking.stage2.learning_rate", by_size(1e-5, 5e-6, 3e-6)),
    ("Table 15", "reranking.stage2.max_length", 512),
    ("Table 15", "reranking.stage2.batch_size", 64),
    ("Table 15", "mining.supervised.negatives.reranking_stage1", 63),
    ("Table 15", "mining.supervised.negatives.reranking_stage2", 63),
    ("Section 3.1", "mining.supervised.window", {"first": 30, "last": 100}),
    ("Section 3.1", "mining.supervised.depth", 100),
    ("Section 3.1", "mining.supervised.fill", False),
    ("Section 3.1", "mining.supervised.encoder.name", "intfloat/multilingual-e5-large"),
    ("Table 9", "mteb.max_length", 512),
    ("Table 9", "encoding.max_length", 512),
    ("Table 9", "evaluation.max_length", 512),
    ("Table 10", "tested_on", ["MTEB(jpn, v1)"]),
    ("Section 2.2", "synthesis.sets.autowikiqa.paragraphs", 3),
    ("Section 2.2", "synthesis.sets.autowikinli.score.drop", 0.2),
    ("Section 2.2", "sources.autowikinli.drop_lowest.helpfulness", 0.2),
    *[("Section 3.1", f"sources.{name}.collection", collection) for name, collection in {
        **dict.fromkeys(("jsquad", "jaquad", "quiz_no_mori", "quiz_works", "jqara", "mkqa"), "jawiki_passages"),
        "miracl": "miracl_passages", "mr_tydi": "mr_tydi_passages"}.items()],
    ("Section 3.1", "sources.jawiki_passages.paragraphs", 3),
    ("Section 3.1", "sources.jqara.hub.split", "dev+unused"),
    ("Table 1", "sources.wikipedia_3p.paragraphs", 3),
]  # fmt: skip

# Where the negatives of each source are from in pre-training.
TABLE_1 = {
    **dict.fromkeys(("wikipedia_1p", "wikipedia_3p", "wikipedia_long", "wiktionary", "wikibooks"), "random"),
    **dict.fromkeys(("cc_news_short", "wiki_atomic_edits"), "random"),
    **dict.fromkeys(("mqa", "cc_news_long", "autowikiqa_mx", "autowikiqa_nemo", "jrc"), "bm25"),
    **dict.fromkeys(("autowikinli", "jsnli"), "given"),
}
# Rows of a stage by source. Cleaning and mining leave so many: the recipe has them as `expected_rows`.
ROWS_1 = {
    "wikipedia_1p": 19_361_464, "wikipedia_3p": 10_010_462, "wikipedia_long": 7_889_486, "wiktionary": 697_405,
    "wikibooks": 314_207, "mqa": 25_165_824, "cc_news_long": 6_248_336, "cc_news_short": 2_795_632,
    "autowikiqa_mx": 11_563_562, "autowikiqa_nemo": 495_062, "jrc": 131_072, "wiki_atomic_edits": 3_679_939,
    "autowikinli": 203_147, "jsnli": 180_146,
}  # fmt: skip
ROWS_3 = {
    "jsquad": 212_352, "autowikiqa_nemo": 190_743, "jaquad": 108_068, "quiz_no_mori": 36_120, "quiz_works": 29_112,
    "jqara": 16_260, "miracl": 13_968, "mr_tydi": 7_394, "mkqa": 6_636,
}  # fmt: skip
ROWS_4 = {"quiz_no_mori": 18_060, "quiz_works": 14_556, "jqara": 8_130, "miracl": 6_984, "mr_tydi": 3_697}
DISTILLED = {"quiz_no_mori": 31_232, "quiz_works": 26_624, "jqara": 13_824, "miracl": 12_800, "mr_tydi": 7_168}
ROWS_8 = {**DISTILLED, "nu_snli": 109_568, "nu_mnli": 77_824, "janli": 13_824}
TOTALS = [(ROWS_1, 88_735_744), (ROWS_3, 620_653), (ROWS_4, 51_427), (ROWS_8, 292_864)]

# What the ablations show below their own figures: (table, cell, figures by size).
TABLE_6 = [
    ("table6", "stage1", by_size([63.9, 92.5, 91.2], [72.9, 92.4, 94.2], [75.8, 93.4, 95.4])),
    ("table6", "stage2", by_size([60.3, 89.9, 89.3], [68.0, 92.9, 93.7], [70.5, 90.8, 93.2])),
    ("table6", "both", by_size([64.5, 92.6, 92.3], [74.3, 93.5, 95.6], [77.1, 94.1, 96.1])),
]
TABLE_7 = [
    ("table7", "bert_stage1", by_size([63.7, 89.4, 90.4], [71.8, 89.3, 93.9], [76.1, 92.2, 95.2])),
    ("table7", "bert_stage2", by_size([64.3, 91.4, 91.6], [73.1, 91.6, 95.1], [77.3, 93.5, 96.0])),
    ("table7", "pt_stage1", TABLE_6[0][2]),
    ("table7", "pt_stage2", TABLE_6[2][2]),
]
TABLES_12_13 = [  # the average of JMTEB, the last of seven figures
    ("table12", "with", {"large": 72.46}),
    ("table12", "without", {"large": 71.11}),
    ("table13", "pt", by_size(70.41, 70.80, 72.46)),
    ("table13", "without", by_size(66.49, 65.25, 67.09)),
    ("table13", "both", by_size(71.53, 71.91, 73.31)),
]


PAPER = {size: recipe("ruri", size=size) for size in SIZES}
SOURCES = PAPER["base"]["sources"]


@pytest.mark.parametrize(("place", "path", "value"), NUMBERS, ids=[f"{path} ({place})" for place, path, _ in NUMBERS])
def test_the_recipe_has_the_papers_number(place, path, value):
    for size in SIZES:
        is_by_size = isinstance(value, dict) and set(value) == set(SIZES)
        assert at(PAPER[size], path) == (value[size] if is_by_size else value), f"{place}, {size}"


def has(parameters, path):
    """Whether there is something at a dotted path."""
    try:
        at(parameters, path)
    except (KeyError, TypeError):
        return False
    return True


MINING = ("depth", "fill", "mine_window", "max_mined", "max_score_ratio", "window", "negatives", "encoder")


def test_what_the_paper_names_is_written_in_the_recipe_and_inherited_from_no_toy():
    own = written("ruri")
    paths = [path for _, path, _ in NUMBERS] + [f"mining.supervised.{name}" for name in MINING]
    # The prompts and benchmarks of conf/base are the paper's already.
    inherited = [path for path in paths if not path.startswith(("prompts", "synthesis.", "mteb."))]
    assert not [path for path in inherited if not has(own, path)]


@pytest.mark.parametrize(("rows", "total"), TOTALS, ids=["Table 1", "Table 3", "Table 4", "Table 8"])
def test_the_tables_are_copied_whole(rows, total):
    assert sum(rows.values()) == total


def stage(name):
    """The row of every source that takes part in a stage."""
    return {source: row["stages"][name] for source, row in SOURCES.items() if name in row.get("stages", {})}


@pytest.mark.parametrize(
    ("name", "rows"),
    [("pretraining", ROWS_1), ("reranking_stage1", ROWS_3), ("reranking_stage2", ROWS_4), ("finetuning", ROWS_8)],
)
def test_each_stage_has_the_sources_of_its_table_with_their_counts(name, rows):
    assert {source: row["expected_rows"] for source, row in stage(name).items()} == rows


def test_pretraining_has_the_negatives_of_table_1():
    assert {source: row["negatives"] for source, row in stage("pretraining").items()} == TABLE_1
    assert not any("share" in row for row in stage("pretraining").values())


def test_stage_1_takes_a_part_of_autowikiqa_and_doubles_all_else():
    """Table 3 is twice Table 4 but for AutoWikiQA, of which it has 190,743 of the 495,062 rows of Table 1."""
    rows = stage("reranking_stage1")
    nemo = rows.pop("autowikiqa_nemo")
    assert nemo["max_rows"] == ROWS_3["autowikiqa_nemo"] < ROWS_1["autowikiqa_nemo"] and "share" not in nemo
    assert not nemo.get("shuffled_copy") and nemo["mined"] is False, "no pair beside those that were given"
    assert all(row["shuffled_copy"] and "share" not in row for row in rows.values())
    assert {source: 2 * count for source, count in ROWS_4.items()} == {source: ROWS_3[source] for source in ROWS_4}
    assert not any(row.get("shuffled_copy") or "share" in row for row in stage("reranking_stage2").values())


def test_finetuning_distils_where_table_8_says_and_doubles_everything():
    rows = stage("finetuning")
    assert {source for source, row in rows.items() if row.get("objective") == "distillation"} == set(DISTILLED)
    assert {source for source, row in rows.items() if "objective" not in row} == {"nu_snli", "nu_mnli", "janli"}
    assert all(row["shuffled_copy"] for row in rows.values())


def test_so_many_positives_are_mined_that_jaquads_rows_can_come_about():
    """Table 3: 54,034 pairs, each once more with its sentences in another order, of 31,748 questions."""
    questions, pairs = 31_748, ROWS_3["jaquad"] // 2
    mined = PAPER["base"]["mining"]["supervised"]["max_mined"]
    assert questions < pairs <= questions * (1 + mined) and pairs - questions < questions


def test_the_collection_leaves_out_what_the_sources_of_wikipedia_leave_out():
    """Section 3.1: passages of Wikipedia, Wiktionary and WikiBooks; one dump of each, as Table 1's sources read it."""
    article = SOURCES["wikipedia_3p"]
    wikipedia, *others = SOURCES["jawiki_passages"]["hub"]
    assert (wikipedia["where"], wikipedia["exclude"]) == (article["where"], article["exclude"])
    assert [hub["id"] for hub in others] == [SOURCES[name]["hub"]["id"] for name in ("wiktionary", "wikibooks")]
    assert [hub["path"] for hub in others] == [SOURCES[name]["path"] for name in ("wiktionary", "wikibooks")]
    assert wikipedia["path"] == "data/train-*.parquet"


@pytest.mark.parametrize(("table", "cell", "figures"), TABLE_6 + TABLE_7)
def test_tables_6_and_7_stand_below_the_ablations(table, cell, figures):
    assert PAPER["base"]["ablations"]["tables"][table]["cells"][cell]["paper"] == figures


@pytest.mark.parametrize(("table", "cell", "averages"), TABLES_12_13)
def test_tables_12_and_13_stand_below_the_ablations(table, cell, averages):
    paper = PAPER["base"]["ablations"]["tables"][table]["cells"][cell]["paper"]
    assert {size: row[-1] for size, row in paper.items()} == averages and {len(row) for row in paper.values()} == {7}


def test_the_ablations_are_the_papers():
    settings = PAPER["base"]["ablations"]
    tables = settings["tables"]
    assert settings["seeds"] == [42]
    assert tables["table6"]["columns"] == ["jqara/ndcg@10", "jacwir/map@10", "miracl/pooled_recall@30"]  # Table 5
    assert tables["table12"]["cells"]["without"]["without"] == {"pretraining": ["autowikiqa_mx", "autowikiqa_nemo"]}
    assert tables["table12"]["benchmark"] and tables["table13"]["benchmark"]
    assert settings["benchmark"]["name"] == "MTEB(jpn, v1)"


@pytest.mark.parametrize("size", SIZES_OF["ruri-v3"])
def test_the_next_generation_differs_in_models_lengths_and_prefixes_only(size):
    ours, paper = recipe("ruri-v3", size=size), PAPER["base"]
    assert ours["base_model"]["name"] == f"sbintuitions/modernbert-ja-{size}"
    read = [ours[name]["max_length"] for name in ("pretraining", "finetuning", "encoding", "evaluation", "mteb")]
    assert {*read, *(stage["max_length"] for stage in ours["reranking"].values())} == {8192}
    assert ours["prompts"] == {"query": "検索クエリ: ", "document": "検索文書: "}
    topic = dict.fromkeys(("classification", "clustering", "multilabel"), "トピック: ")
    assert ours["task_prompts"] == {**topic, **dict.fromkeys(("sts", "pair", "bitext"), "")}
    assert ours["recipe"] == f"v3-{size}"
    for name in ("sources", "tasks", "ablations", "tested_on"):
        own = {**ours[name], "folder": None} if name == "ablations" else ours[name]
        assert own == ({**paper[name], "folder": None} if name == "ablations" else paper[name]), name
    assert ours["mining"]["supervised"]["negatives"] == paper["mining"]["supervised"]["negatives"]
    for name in ("batch_size", "temperature", "epochs", "warmup_ratio", "weight_decay"):
        assert ours["pretraining"][name] == paper["pretraining"][name]


JACOLBERT = [  # arXiv 2312.16144
    ("Section 2.1", "sources.mmarco.hub.id", "bclavie/mmarco-japanese-hard-negatives"),
    ("Section 3.1", "base_model.name", "tohoku-nlp/bert-base-japanese-v3"),
    ("Section 3.1", "base_model.query_length", 64),
    ("Section 3.1", "base_model.document_length", 228),
    ("Section 3.1", "finetuning.max_length", {"query": 64, "document": 228}),
    ("Section 3.1", "finetuning.batch_size", 128),
    ("Section 3.1", "finetuning.warmup_steps", 8000),
    ("Section 3.1", "finetuning.learning_rate", 5e-6),
    ("Section 3.1", "finetuning.epochs", 1),
    ("ColBERT", "base_model.dimensions", 128),
]


@pytest.mark.parametrize(("place", "path", "value"), JACOLBERT)
def test_jacolbert_has_the_numbers_of_its_paper(place, path, value):
    assert at(recipe("jacolbert"), path) == value, place


def test_jacolbert_draws_ten_million_triplets_and_its_successor_learns_from_a_teacher():
    first, second = (recipe("jacolbert", **given) for given in ({}, {"version": "v2.5"}))
    row = first["sources"]["mmarco"]["stages"]["finetuning"]
    assert row["triplets"] and row["count"] * row["max_rows"] == 10_000_000
    assert first["recipe"] == "jacolbert" and second["recipe"] == "jacolbert-v2.5"
    row = second["sources"]["mmarco"]["stages"]["finetuning"]
    assert (row["objective"], row["count"] + 1, row["triplets"]) == ("distillation", 32, False)
    assert second["finetuning"]["averaging"] == {"last": 3} and second["base_model"]["query_expansion"] == 32
    own, paper = first["tasks"], recipe("ruri", "parameters")["tasks"]
    assert own == {name: task for name, task in paper.items() if name.startswith("jacolbert_")}


def test_every_file_of_the_paper_is_one_of_the_next_generation():
    own = {path.name for path in (REPOSITORY / "conf/ruri-v3").iterdir()}
    assert {path.name for path in (REPOSITORY / "conf/ruri").iterdir()} <= own


@pytest.mark.parametrize(
    ("env", "size"),
    [
        *((env, size) for env, sizes in SIZES_OF.items() for size in sizes),
        *((env, size) for env in ("e5", "jacolbert-mini", "fio-mini", "ru-en-mini") for size in ("12l", "4l")),
    ],
)
def test_what_is_promoted_by_default_is_what_the_recipe_registers(env, size):
    from ruri_kedro.recipe.stages import registered_names

    found = sized(env, size)
    assert found["promotion"]["model"] == registered_names(found["recipe"])["embedder"]


def test_fio_learns_from_labels_three_epochs_of_inference_and_one_of_questions():
    found = recipe("fio")
    assert (found["pretraining"]["epochs"], found["finetuning"]["epochs"]) == (3, 1)
    rows = [rows_of(row, stage) for row in found["sources"].values() for stage in row["stages"]]
    assert {row["objective"] for each in rows for row in each} == {"angle", "cosent", "contrastive"}  # AnglE, Eq. 8
    first = {name for name, row in found["sources"].items() if "pretraining" in row["stages"]}
    assert first == {"jnli", "jsnli", "jsnli_entailed"}
    assert 2 * found["sources"]["mmarco"]["max_rows"] == 100_000
    assert found["tasks"] == recipe("jacolbert")["tasks"] and found["published"] == recipe("jacolbert")["published"]


# Made without a model of the recipe, so that sizes share it.
SHARED = {"raw", "duplicates", "passages", "pairs", "test_sets", "development_sets", "test_texts", "matches", "leaks",
          "inconsistent",
          "leak_counts", "leak_report", "profile", "profile_plot", "synthetic", "synthesis_report",
          "mining_{mining}.indexes", "mining_{mining}.embeddings", "mining_{mining}.candidates",
          "mining_{mining}.mined_pairs", "mining_{mining}.negatives_figures", "mining_{mining}.negatives_page",
          "{stage}_examples"}  # fmt: skip


@pytest.mark.parametrize("env", ["ruri", "ruri-v3"])
def test_sizes_do_not_meet_where_a_model_takes_part(env):
    """Else fine-tuning would go on with the latest pre-trained model, and reports would follow on one another."""
    given = {size: sized(env, size, "catalog") for size in SIZES_OF[env]}
    default = recipe(env)["size"]
    assert recipe(env, "catalog") == given[default]
    for size, catalog in given.items():
        assert set(catalog) == set(recipe("mini", "catalog"))
        own = {name for name, row in catalog.items() if f"/{env}/versions/{size}/" in row["filepath"]}
        assert own == set(catalog) - SHARED
        assert all(catalog[name]["filepath"] == given[default][name]["filepath"] for name in SHARED)
        assert sized(env, size)["run"]["checkpoints"] == f"data/06_models/{env}/versions/{size}/.checkpoints"


def test_a_recipe_without_sizes_has_no_folders_for_them():
    paths = [row["filepath"] for row in recipe(None, "catalog").values()]
    assert "data/08_reporting/sample/versions/metrics.json" in paths
    assert not [path for path in paths if "None" in path or "//" in path]


def test_an_unknown_size_is_named():
    with pytest.raises(Exception, match="huge"):
        recipe("ruri", size="huge")


RU_EN = [
    ("card", "base_model.name", "ai-forever/ruRoberta-large"),
    ("card", "base_model.add_vocabulary.name", "FacebookAI/roberta-large"),
    ("card", "base_model.pooling", "cls"),
    ("card", "prompts", {"query": "search_query: ", "document": "search_document: "}),
    ("card", "task_prompts.sts", "classification: "),
    ("card", "task_prompts.clustering", "clustering: "),
    ("Section 4.3", "finetuning.homogeneous", True),
    ("Section 4.3", "finetuning.merging.method", "slerp"),
    ("Section 3", "tested_on", ["MTEB(rus, v1)"]),
]


@pytest.mark.parametrize(("place", "path", "value"), RU_EN, ids=[path for _, path, _ in RU_EN])
def test_ru_en_has_what_its_paper_and_card_say(place, path, value):
    assert at(recipe("ru-en"), path) == value, place


def test_every_source_of_ru_en_has_the_prefix_of_its_type_of_pair():
    found = {name: source.prompts_or(recipe("ru-en")["prompts"]) for name, source in
             parse_sources(recipe("ru-en")["sources"]).items()}  # fmt: skip
    by_prefix = {}
    for name, prompts in found.items():
        by_prefix.setdefault((prompts["query"], prompts["document"]), set()).add(name)
    assert by_prefix == {
        ("search_query: ", "search_document: "): {"miracl_ru", "miracl_en", "yandex_q", "ru_stackoverflow"},
        ("clustering: ", "clustering: "): {"habr", "pikabu"},
        ("classification: ", "classification: "): {"xnli_ru", "xnli_en", "news_commentary"},
    }


@pytest.mark.parametrize("env", ["ru-en", "ru-en-mini"])
def test_a_recipe_of_two_languages_and_its_ablations_are_accepted(env):
    from ruri_kedro.experiments.cells import parse_cells
    from ruri_kedro.pipelines.ablations.nodes import recipe_nodes
    from ruri_kedro.recipe.blocks import faults_in

    found = recipe(env)
    assert list(faults_in(found)) == []
    own = " ".join(written(env)["ablations"]["tables"])
    cells = parse_cells(found["ablations"] | {"only": own}, found, recipe_nodes())
    assert {cell.table for cell in cells} == set(own.split())
