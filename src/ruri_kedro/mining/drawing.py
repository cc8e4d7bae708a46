"""How negatives are chosen in each stage, from the parameters of mining and of the sources."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ruri_kedro.corpora.source import Source
from ruri_kedro.errors import RecipeError, require_whole
from ruri_kedro.mining.candidates import RETRIEVERS
from ruri_kedro.mining.examples import StageRecipe
from ruri_kedro.mining.negatives import ChoiceRules, Window
from ruri_kedro.recipe.annotations import Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import STAGES


def check_mining(sources: Iterable[Source], stages: Iterable[str], mining: Params) -> None:
    """Raise RecipeError for a parameter without a meaning; before anything is indexed, encoded or searched."""
    for name in ("depth", "shard_rows"):
        require_whole(f"mining.*.{name}", mining[name], 1)
    stages = list(stages)
    for source in sources:
        for stage in stages:
            stage_recipes(source, stage, mining)


def stage_recipes(source: Source, stage: str, mining: Params) -> list[StageRecipe]:
    """How a source takes part in a stage; raises RecipeError for a row without a meaning."""
    counts = mining["negatives"]
    rules = replace(choice_rules(mining), n=counts[stage] if isinstance(counts, Mapping) else counts)
    objective = STAGES[stage].objective_of
    made = [StageRecipe.of(stage, row, objective(row), rules, source.name) for row in source.rows_of(stage)]
    for recipe in made:
        if recipe.strategy in RETRIEVERS and recipe.rules.window.last > mining["depth"]:
            raise RecipeError(
                f"sources.{source.name}.stages.{stage}: the window ends at rank {recipe.rules.window.last}, but the "
                f"search at {mining['depth']}. Raise mining.*.depth."
            )
    return made


def choice_rules(mining: Params) -> ChoiceRules:
    """The rules of a namespace; how many negatives is a matter of the stage."""
    mine = mining["mine_window"]
    return ChoiceRules(
        window=parse(Window, mining["window"], "mining.*.window"),
        n=0,
        fill=mining["fill"],
        mine_window=parse(Window, mine, "mining.*.mine_window") if mine else None,
        max_mined=mining["max_mined"],
        min_answer_chars=mining["min_answer_chars"],
        max_score_ratio=mining.get("max_score_ratio"),  # mining.pretraining has no encoder, and no such key
    )
