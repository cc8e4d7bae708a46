"""The base model, and what it learns of a language before it compares texts. Torch is imported inside the functions."""

from collections.abc import Iterator
from pathlib import Path

from ruri_kedro.models.kinds import KINDS, by_kind
from ruri_kedro.models.settings import BaseModelSettings
from ruri_kedro.recipe.addresses import resolve
from ruri_kedro.recipe.annotations import Embedder, Params
from ruri_kedro.recipe.parse import parse
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import Table
from ruri_kedro.tables.lookup import iter_texts
from ruri_kedro.training.stages import train_stage


@by_kind("build")
def make_base_model(passages: Table, base_model: Params, prompts: Params, seed: int) -> Embedder:
    """The model that `base_model` names, or a tiny one built from the corpus, as one of `base_model.kind`."""
    settings = parse(BaseModelSettings, base_model, "base_model")

    def texts() -> Iterator[str]:
        yield from (text for _, text in iter_texts(passages))

    return resolve(KINDS[settings.kind].build)(texts, settings, prompts, seed)


def adapt(
    base_model: Path,
    examples: Table,
    passages: Table,
    settings: Params,
    prompts: Params,
    run: Params,
    base_parameters: Params,
) -> Embedder:
    """Masked language modelling on the texts of the sources that take part (BERT, arXiv 1810.04805, Section 3.1)."""
    return train_stage(
        "adaptation", base_model, examples, passages, settings, run, step_logger, prompts, base_model=base_parameters
    )
