"""The parameters `mining` and `consistency`: how negatives and positives are mined, and pairs filtered."""

from collections.abc import Mapping

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.settings import ModelName
from ruri_kedro.recipe.parse import Count, ShareAbove, Size, parameters, unknown
from ruri_kedro.recipe.stage_rows import Window
from ruri_kedro.recipe.stages import mined_stages
from ruri_kedro.search.dense.settings import NearestSettings
from ruri_kedro.text.prompts import Prompts


@parameters
class MiningEncoder(ModelName):
    """An encoder that mines or filters, and how it reads texts."""

    prompts: Prompts | None  # None: those of the source, or of the recipe
    max_length: Count | None  # tokens, prompt included; None: encoding.max_length


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
class CacheSettings:
    """Where embeddings are kept, and how many texts are encoded and written at a time."""

    folder: str
    block: Count


@parameters
class SupervisedMining(PretrainingMining):
    """Mining with BM25 and an encoder, for rerankers and fine-tuning."""

    negatives: Mapping[str, Size]  # of an example of each stage
    encoder: MiningEncoder  # without a name: the pre-trained model of the recipe
    cache: CacheSettings
    nearest: NearestSettings
    rrf_k: Size  # a document scores the sum of 1 / (rrf_k + rank)
    max_score_ratio: ShareAbove | None  # negatives have a cosine below this share of the positive's; None: any

    def __post_init__(self) -> None:
        stages = mined_stages("supervised")
        faults = [f"negatives.{stage}: missing." for stage in stages if stage not in self.negatives]
        faults += [f"negatives.{name}: {unknown(name, stages)}" for name in self.negatives if name not in stages]
        if faults:
            raise RecipeError("\n".join(faults))


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

    encoder: MiningEncoder
    rank: Count
    sample: Count
    sources: str | tuple[str, ...] | None
    shard_rows: Count
