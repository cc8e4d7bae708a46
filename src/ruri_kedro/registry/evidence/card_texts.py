"""What a model card says of every model of a kind."""

from collections.abc import Sequence
from dataclasses import dataclass

# What is said of an embedder's vectors.
UNIT = "vectors of length 1 out, compared by cosine"
NOT_UNIT = "vectors of any length out, to be compared by cosine and not by dot product"


@dataclass(frozen=True)
class CardText:
    """The parts of a card that depend on the kind of model alone."""

    pipeline_tag: str  # of the Hugging Face hub
    tags: Sequence[str]
    introduction: str  # {vectors}: UNIT or NOT_UNIT
    usage: str  # Python, with {name} for that of the model
    prompts: bool  # whether texts need the prompts that the model was trained with


EMBEDDER = CardText(
    pipeline_tag="sentence-similarity",
    tags=("sentence-transformers", "sentence-similarity", "feature-extraction"),
    introduction="A Japanese text embedding model: texts in, {vectors}.",
    usage="""from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/{name}")
queries = model.encode(["日本で一番高い山は？"], prompt_name="query")
passages = model.encode(["富士山は日本の最高峰である。"], prompt_name="document")
print(model.similarity(queries, passages))""",
    prompts=True,
)
MULTI_VECTOR = CardText(
    pipeline_tag="sentence-similarity",
    tags=("sentence-transformers", "multi-vector", "late-interaction", "ColBERT"),
    introduction="A Japanese model of late interaction: texts in, a vector for each token out, compared by MaxSim.",
    usage="""from sentence_transformers import MultiVectorEncoder

model = MultiVectorEncoder("path/to/{name}")
queries = model.encode_query(["日本で一番高い山は？"])
passages = model.encode_document(["富士山は日本の最高峰である。"])
print(model.similarity(queries, passages))""",
    prompts=False,
)
CROSS_ENCODER = CardText(
    pipeline_tag="text-ranking",
    tags=("sentence-transformers", "cross-encoder", "reranker"),
    introduction="A Japanese reranker: a query and a passage in, a score out, higher for the more relevant.",
    usage="""from sentence_transformers import CrossEncoder

model = CrossEncoder("path/to/{name}")
print(model.predict([("日本で一番高い山は？", "富士山は日本の最高峰である。")]))""",
    prompts=False,
)
