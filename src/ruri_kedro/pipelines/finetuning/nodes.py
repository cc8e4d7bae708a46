"""Supervised fine-tuning with the reranker as teacher (Ruri, Section 4). Torch is imported inside the functions."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ruri_kedro.benchmark.development import development_pairs
from ruri_kedro.benchmark.tasks.types import by_type
from ruri_kedro.corpora.source import own_prompts
from ruri_kedro.datasets.models import HandedOn
from ruri_kedro.errors import RecipeError
from ruri_kedro.models.kinds import KINDS, by_kind, kind_in, model_class, saved_kind
from ruri_kedro.models.pair_scores import SCORERS
from ruri_kedro.models.precision import check_precision
from ruri_kedro.models.reference import EncoderReference, folder_digest
from ruri_kedro.pipelines.evaluation.nodes import validate
from ruri_kedro.recipe.annotations import Embedder, Figure, Frame, Params
from ruri_kedro.recipe.objectives import TAUGHT
from ruri_kedro.recipe.parse import parse
from ruri_kedro.recipe.stages import BASE_KIND, kind_of_model
from ruri_kedro.registry.runs.tracking import step_logger
from ruri_kedro.tables import SCHEMAS, Part, ShardedPart, Table
from ruri_kedro.tables.code import behaviour_digest
from ruri_kedro.tables.lookup import passage_texts
from ruri_kedro.tables.store import blocks, key_of
from ruri_kedro.training.merging import best_weight, merging_table
from ruri_kedro.training.settings import Merging
from ruri_kedro.training.stages import train_stage
from ruri_kedro.training.teacher import (
    SHARD_PAIRS,
    believed,
    check_kept,
    check_scores,
    check_sources,
    pairs_to_score,
    plot_scores,
    threshold_of,
    weak_positives,
)

logger = logging.getLogger(__name__)


def score_with_teacher(
    examples: Table, passages: Table, reranker: Path, settings: Params, device: str
) -> dict[str, ShardedPart]:
    """The teacher's score for every positive and negative of the distilled examples, a part per source.

    The scores are written in shards: a killed run continues with the first that is missing.
    """
    teacher = EncoderReference.of(settings["teacher"], reranker)

    def part(source: str) -> ShardedPart:
        key = key_of(
            examples=examples.digest([source]),
            teacher=teacher.digest(),
            kind=settings["teacher"]["kind"],
            max_length=settings["teacher_max_length"],
            precision=settings["teacher_precision"],
            shard=SHARD_PAIRS,
            code=behaviour_digest(score_with_teacher),
        )
        return ShardedPart(
            key, partial(_teacher_shards, source, examples, passages, reranker, teacher, settings, device)
        )

    return {source: part(source) for source in examples.parts()}


def _teacher_shards(
    source: str,
    examples: Table,
    passages: Table,
    reranker: Path,
    teacher: EncoderReference,
    settings: Params,
    device: str,
    done: Sequence[Path],
) -> Iterator[pa.Table]:
    """The scores of a source that are missing behind the shards that are `done`."""
    precision = settings["teacher_precision"]
    check_precision(precision, "finetuning.teacher_precision")
    # What is left to score, and whether there is a teacher for it.
    wanted = list(pairs_to_score(examples.iter_rows([source])).items())
    left = wanted[len(done) * SHARD_PAIRS :]
    if not left:
        return
    if settings["teacher"]["name"] is None and saved_kind(reranker) is not KINDS[kind_of_model("reranker")]:
        raise RecipeError(
            f"{source}: its objective needs a teacher, but no source takes part in the training of a reranker. Set "
            "finetuning.teacher.name, or another objective."
        )
    # The model and the texts are read once, for all shards.
    texts = passage_texts(passages, {text for (_, docid), anchor in left for text in (docid, anchor)})
    score_pairs = SCORERS[settings["teacher"]["kind"]](
        teacher.name, teacher.revision, device, settings["teacher_max_length"], settings["chunk_tokens"], precision
    )
    finished = len(wanted) - len(left)
    with tqdm(total=len(wanted), initial=finished, desc=f"teacher scores {source}", unit="pair", disable=None) as bar:
        for block in blocks(left, SHARD_PAIRS):
            pairs = [(texts[anchor], texts[docid]) for (_, docid), anchor in block]
            scores = score_pairs(pairs)
            ids = [pair for pair, _ in block]
            check_scores(ids, scores, precision)
            rows = [
                {"query_id": query_id, "docid": docid, "score": score}
                for (query_id, docid), score in zip(ids, scores.tolist(), strict=True)
            ]
            yield pa.Table.from_pylist(rows, schema=SCHEMAS["teacher_scores"])
            bar.update(len(block))


def drop_weak_positives(
    examples: Table, teacher_scores: Table, settings: Params, allow_untrained: bool
) -> tuple[dict[str, Part], Figure, Frame]:
    """The examples whose positive the teacher scores high enough, a plot of its scores, and the others, worst first.

    Raises RecipeError for a source of which none is left, unless the recipe allows that.
    """
    scores = _by_query_and_docid(teacher_scores)
    distilled = [row for row in examples.iter_rows() if row["objective"] in TAUGHT]
    threshold = threshold_of(distilled, scores, settings["threshold"], settings["keep_share"])
    check_kept(
        sum(believed(row, scores, threshold) for row in distilled), len(distilled), threshold, settings["min_kept"]
    )

    weak = weak_positives(distilled, scores, threshold)
    check_sources(distilled, weak, threshold, allow_untrained)

    def part(source: str) -> Part:
        key = key_of(examples=examples.digest([source]), scores=teacher_scores.digest([source]), threshold=threshold,
                     code=behaviour_digest(believed))  # fmt: skip
        rows = (row for row in examples.iter_rows([source]) if believed(row, scores, threshold))
        return Part(key, lambda: blocks(rows))

    positives = {(row["query_id"], row["positive"]) for row in distilled}
    figure = plot_scores(
        np.array([score for pair, score in scores.items() if pair in positives]),
        np.array([score for pair, score in scores.items() if pair not in positives]),
        threshold,
    )
    return {source: part(source) for source in examples.parts()}, figure, weak


@by_type("collecting")
def finetune(
    pretrained_model: Path,
    examples: Table,
    teacher_scores: Table,
    passages: Table,
    settings: Params,
    prompts: Params,
    run: Params,
    sources: Params,
    training_head: str | None,
    development_sets: Path,
) -> Embedder:
    """Distil retrieval sources, contrast inference sources."""
    teacher = _by_query_and_docid(teacher_scores)
    return train_stage(
        "finetuning", pretrained_model, examples, passages, settings, run, step_logger, prompts, teacher,
        own_prompts(sources), training_head, development_pairs(settings, "finetuning", development_sets),
    )  # fmt: skip


@by_kind("asked")
def merge_with_older(
    finetuned_model: Path,
    pretrained_model: Path,
    base_model: Path,
    pairs: Table,
    passages: Table,
    sources: Params,
    prompts: Params,
    evaluation: Params,
    merging: Params | None,
) -> tuple[Embedder, Frame]:
    """The fine-tuned model merged with an older one, and the held-out pairs by weight where there are several.

    The weight is chosen by the mean over the sources of what `validate` finds, of equal ones the smaller. No test set
    has a say. Without `merging`, or where nothing was trained, the model is handed on.
    """
    if merging is None:
        return HandedOn(finetuned_model), merging_table({}, None)
    settings = parse(Merging, merging, "finetuning.merging")
    older = base_model if settings.model == "base" else pretrained_model
    if folder_digest(older) == folder_digest(finetuned_model):
        return HandedOn(finetuned_model), merging_table({}, None)

    from ruri_kedro.models.merging import merge

    models = [model_class(kind_in(folder, BASE_KIND))(str(folder), device="cpu") for folder in (finetuned_model, older)]

    def merged(weight: float) -> Any:
        return merge(*models, settings.method, weight, settings.weight_of)

    if len(settings.weights) == 1:
        return merged(settings.weights[0]), merging_table({}, settings.weights[0])
    found: dict[float, dict[str, float]] = {}
    for weight in sorted(settings.weights):
        with tempfile.TemporaryDirectory() as folder:
            merged(weight).save_pretrained(folder)
            found[weight] = validate(Path(folder), pairs, passages, sources, prompts, evaluation)
    chosen = best_weight(found)
    logger.info("finetuning.merging: weight %g of the fine-tuned model is best on the held-out pairs.", chosen)
    return merged(chosen), merging_table(found, chosen)


def _by_query_and_docid(teacher_scores: Table) -> dict[tuple[str, str], float]:
    return {(row["query_id"], row["docid"]): row["score"] for row in teacher_scores.iter_rows()}
