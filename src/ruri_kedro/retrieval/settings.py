"""The parameters `mining` and `consistency`: how negatives and positives are mined, and pairs filtered."""

from typing import Literal

from ruri_kedro.encoders.settings import ModelName
from ruri_kedro.errors import RecipeError
from ruri_kedro.recipe.parse import Count, ShareAbove, Size, parameters
from ruri_kedro.recipe.stage_rows import Window


@parameters
class NearestSettings:
    """Which index a collection gets.

    exact_below: collections with fewer documents are searched exactly (flat), whatever `kind`; kind: `flat`, `ivf`
    (`cells` clusters, of which a query looks at `probes`; float16) or `hnsw` (`links` per document, `effort` documents
    looked at, both as in Malkov and Yashunin, arXiv 1603.09320).
    """

    exact_below: Size
    kind: Literal["flat", "ivf", "hnsw"]
    cells: Count
    probes: Count
    links: Count
    effort: Count

    def __post_init__(self) -> None:
        if self.probes > self.cells:
            raise RecipeError(f"probes={self.probes} is more than cells={self.cells}. Lower probes or raise cells.")
        if self.kind == "ivf" and self.exact_below < self.cells:
            raise RecipeError(
                f"exact_below={self.exact_below} is less than cells={self.cells}. A cell needs a document: raise it."
            )

    def kind_for(self, documents: int) -> str:
        """The kind of index for a collection of this size."""
        return "flat" if documents < self.exact_below else self.kind


@parameters
class PretrainingMining:
    """Mining before pre-training, when no encoder is there yet, and what all mining has."""

    shard_rows: Count  # queries, or pairs, whose candidates and texts are in memory at a time
    depth: Count  # documents looked up for a query
    window: Window  # ranks that negatives are drawn from
    negatives: Size  # of an example
    mine_window: Window | None  # ranks in which a document with the answer becomes a positive; None: none does
    max_mined: Size  # mined positives of a query, at most
    min_answer_chars: Size  # a shorter answer mines nothing and bars no negative
    fill: bool  # too few in the window: ranks behind it, then before it


@parameters
class StageNegatives:
    """How many negatives an example of each stage has."""

    reranking_stage1: Size
    reranking_stage2: Size
    finetuning: Size


@parameters
class CacheSettings:
    """Where embeddings are kept, and how many texts are encoded and written at a time."""

    folder: str
    block: Count


@parameters
class SupervisedMining(PretrainingMining):
    """Mining with BM25 and an encoder, for rerankers and fine-tuning."""

    negatives: StageNegatives
    encoder: ModelName  # without a name: the pre-trained model of the recipe
    cache: CacheSettings
    nearest: NearestSettings
    rrf_k: Size  # a document scores the sum of 1 / (rrf_k + rank)
    max_score_ratio: ShareAbove | None  # negatives have a cosine below this share of the positive's; None: any


@parameters
class MiningSettings:
    """Parameters `mining`."""

    pretraining: PretrainingMining
    supervised: SupervisedMining


@parameters
class ConsistencyRules:
    """A pair of training stays if its positive is among the first `rank` of `sample` positives of its source.

    encoder: without a name the filter is off; sources: names of those that are filtered, None: all; shard_rows: pairs
    in memory at a time, besides the vectors of the sample.
    """

    encoder: ModelName
    rank: Count
    sample: Count
    sources: str | tuple[str, ...] | None
    shard_rows: Count
