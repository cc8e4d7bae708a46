"""The stages of a recipe in their order, one row each. A new stage is a row here, its node and its parameters.

Whatever goes through the stages reads this table when it is called: pipelines, checks, dry run, evaluation, evidence,
lineage, ablations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ruri_kedro.recipe.objectives import LABELLED, READING, RERANKING, STRATEGIES, TAUGHT, UNTAUGHT

BASE = "base_model"  # the model of the catalog that no stage trains
# Its kind is what `base_model.kind` says, and so is that of what is trained from it: in this table, which no recipe
# changes, a word stands in its place (models.kinds.kinds_of). And what reports call the model.
BASE_KIND, BASE_EVALUATED_AS = "base", "base"

# Where negatives can come from, by block of `mining`. No encoder is there before pre-training.
MINING = {"pretraining": STRATEGIES[:3], "supervised": STRATEGIES}


@dataclass(frozen=True)
class Stage:
    """One training of a recipe. Models and tables are names in the catalog."""

    name: str  # in the sources' `stages`, and before its curves in MLflow
    pipeline: str  # package with the `create_pipeline` that has its node
    node: str  # name of the node that trains, without that of its pipeline
    block: str  # place of its parameters
    settings: str  # their dataclass, by address
    start: str  # model that goes in
    model: str  # model that comes out
    kind: str  # of that model, a name in models.kinds.KINDS or BASE_KIND
    objectives: tuple[str, ...]  # that its examples can have; the first is the default
    mining: str  # block of `mining` by which its negatives are chosen
    examples: str  # table that it trains on; the examples as they are mined where a step between changes them
    teacher: str | None = None  # model whose scores it learns from, unless its parameters name another one
    evaluated_as: str | None = None  # what the model is called in reports; None: it is not evaluated
    train: str | None = None  # what trains it, by address; None: what the kind of its model names
    trains_with: tuple[str, ...] = ()  # of what `train` takes by name
    trained: str | None = None  # what its node gives, where a step between makes the model of it; None: `model`
    registered_as: str | None = None  # name of the registered model, with {recipe}; None: it is not registered

    @property
    def output(self) -> str:
        """What its node gives."""
        return self.trained or self.model

    @property
    def mined_examples(self) -> str:
        """The table of its examples as negative mining makes it."""
        return f"{self.name}_examples"

    def objective_of(self, row: Mapping) -> str:
        """What a source's row for the stage is trained for: the first of the stage's objectives where it names none."""
        return row.get("objective") or self.objectives[0]

    @property
    def strategies(self) -> tuple[str, ...]:
        """Where its negatives can come from."""
        return MINING[self.mining]

    @property
    def pipeline_name(self) -> str:
        """What `kedro run --pipelines` calls its pipeline."""
        return self.pipeline.rpartition(".")[2]


_ROWS = (
    Stage(
        name="adaptation",
        pipeline="ruri_kedro.pipelines.adaptation",
        node="adapt",
        block="adaptation",
        settings="ruri_kedro.training.settings:AdaptationSettings",
        start=BASE,
        model="adapted_model",
        kind=BASE_KIND,
        objectives=READING,
        mining="pretraining",
        examples="adaptation_examples",
        train="ruri_kedro.training.adaptation:train_adaptation",
        trains_with=("base_model",),
    ),
    Stage(
        name="pretraining",
        pipeline="ruri_kedro.pipelines.pretraining",
        node="pretrain",
        block="pretraining",
        settings="ruri_kedro.training.settings:PretrainingSettings",
        start="adapted_model",
        model="pretrained_model",
        kind=BASE_KIND,
        objectives=UNTAUGHT + RERANKING + LABELLED,
        mining="pretraining",
        examples="pretraining_examples",
        evaluated_as="pretrained",
    ),
    Stage(
        name="reranking_stage1",
        pipeline="ruri_kedro.pipelines.reranking",
        node="train_reranker_stage1",
        block="reranking.stage1",
        settings="ruri_kedro.training.settings:RerankingSettings",
        start="pretrained_model",
        model="reranker_stage1",
        kind="cross_encoder",
        objectives=RERANKING,
        mining="supervised",
        examples="reranking_stage1_examples",
    ),
    Stage(
        name="reranking_stage2",
        pipeline="ruri_kedro.pipelines.reranking",
        node="train_reranker_stage2",
        block="reranking.stage2",
        settings="ruri_kedro.training.settings:RerankingSettings",
        start="reranker_stage1",
        model="reranker",
        kind="cross_encoder",
        objectives=RERANKING,
        mining="supervised",
        examples="reranking_stage2_examples",
        evaluated_as="reranker",
        registered_as="ruri-reranker-{recipe}",
    ),
    Stage(
        name="finetuning",
        pipeline="ruri_kedro.pipelines.finetuning",
        node="finetune",
        block="finetuning",
        settings="ruri_kedro.training.settings:FinetuningSettings",
        start="pretrained_model",
        model="embedder",
        trained="finetuned_model",  # before it is merged with an older one
        kind=BASE_KIND,
        objectives=UNTAUGHT + RERANKING + TAUGHT + LABELLED,
        mining="supervised",
        examples="distilled_examples",  # the teacher has dropped weak positives
        teacher="reranker",
        evaluated_as="finetuned",
        registered_as="ruri-{recipe}",
    ),
)
STAGES: dict[str, Stage] = {row.name: row for row in _ROWS}


def example_tables() -> dict[str, str]:
    """By stage the table that it trains on."""
    return {stage.name: stage.examples for stage in STAGES.values()}


def stage_of_model(model: str) -> Stage | None:
    """The stage that a model of the catalog comes out of; None for the base model, which no stage trains."""
    return next((stage for stage in STAGES.values() if model in (stage.model, stage.output)), None)


def parents_of(model: str) -> tuple[str, ...]:
    """The models that a model is made from: the one that its stage starts from, then the teacher."""
    stage = stage_of_model(model)
    return tuple(name for name in (stage.start, stage.teacher) if name) if stage else ()


def stages_behind(model: str) -> tuple[str, ...]:
    """The stages whose examples shaped a model of the catalog, its teacher's among them, in the order of the recipe."""
    behind, waiting = set(), [model]
    while waiting:
        name = waiting.pop()
        if (stage := stage_of_model(name)) and stage.name not in behind:
            behind.add(stage.name)
            waiting += parents_of(name)
    return tuple(name for name in STAGES if name in behind)


def evaluated_models() -> dict[str, str]:
    """The models that are evaluated, by what reports call them: those of the base model's kind first."""
    made = sorted((row for row in STAGES.values() if row.evaluated_as), key=lambda row: row.kind != BASE_KIND)
    return {BASE_EVALUATED_AS: BASE, **{row.evaluated_as: row.model for row in made if row.evaluated_as}}


def registered_models() -> dict[str, Stage]:
    """The stages whose models are registered, by the model's name in the catalog: those of the base's kind first."""
    made = sorted((row for row in STAGES.values() if row.registered_as), key=lambda row: row.kind != BASE_KIND)
    return {row.model: row for row in made}


def registered_names(recipe: str) -> dict[str, str]:
    """The names of a recipe's registered models, by the model's name in the catalog."""
    return {model: str(row.registered_as).format(recipe=recipe) for model, row in registered_models().items()}


def kind_of_model(model: str) -> str:
    """The kind of a model of the catalog, when a stage of its own has trained it: BASE_KIND, or a name in KINDS."""
    stage = stage_of_model(model)
    return stage.kind if stage else BASE_KIND


def mined_stages(mining: str) -> tuple[str, ...]:
    """The stages whose negatives a block of `mining` chooses."""
    return tuple(stage.name for stage in STAGES.values() if stage.mining == mining)


def pipeline_order() -> tuple[str, ...]:
    """The pipelines from texts to trained models: each reads what those before it have stored."""
    order = {"data_engineering": None}
    for stage in STAGES.values():
        order |= {f"mining_{stage.mining}": None, stage.pipeline_name: None}
    return (*order, "evaluation")


def takes_part(stage: str, sources: Mapping[str, Mapping]) -> bool:
    """Whether a source of the recipe takes part in a stage; one without a source hands its model on unchanged."""
    return any(rows_of(source, stage) for source in sources.values())


def rows_of(source: Mapping, stage: str) -> list[Mapping]:
    """How a source of the recipe, as it stands there, takes part in a stage: once, in several ways or not at all.

    What is of another form takes no part here; parse_sources refuses it.
    """
    stages = source.get("stages") if isinstance(source, Mapping) else None
    rows = stages.get(stage) if isinstance(stages, Mapping) else None
    return [rows] if isinstance(rows, Mapping) else list(rows or ())


def is_trained(model: str, sources: Mapping[str, Mapping]) -> bool:
    """Whether a recipe with these sources makes this model of its own kind, and does not just hand another one on."""
    stage = stage_of_model(model)
    if stage is None or takes_part(stage.name, sources):
        return True
    return kind_of_model(stage.start) == stage.kind and is_trained(stage.start, sources)
