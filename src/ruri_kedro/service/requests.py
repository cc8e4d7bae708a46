"""The forms of requests: the service's own, OpenAI's and text-embeddings-inference's."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

_Name = Annotated[StrictStr, Field(max_length=300)]
Text = Annotated[StrictStr, Field(min_length=1)]


class _Strict(BaseModel):
    """Nothing is converted, and a key that is unknown is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Lenient(BaseModel):
    """A form of others: keys that mean nothing here are passed over, as their servers do."""

    model_config = ConfigDict(extra="ignore", strict=True)


class SearchRequest(_Strict):
    """A search by all systems, or by those that are named."""

    query: Text
    k: Annotated[StrictInt, Field(ge=1)] | None = Field(None, description="Hits of each system; null: as configured.")
    systems: list[_Name] | None = Field(None, description="bm25, dense, late_interaction, fused, reranked; null: all.")
    model: _Name | None = Field(None, description="null or champion: the model that is served.")
    compare: StrictBool = Field(False, description="Also the second model, where there is one.")
    texts: StrictBool = Field(True, description="The texts of the hits.")
    marks: StrictBool = Field(False, description="Of the texts, the words that the query has, as [first, behind last].")


class RerankRequest(_Lenient):
    """Texts to be ordered for a query: `documents`, or `texts` as text-embeddings-inference has it."""

    query: Text
    documents: list[Text] | None = None
    texts: list[Text] | None = None
    model: _Name | None = None
    top_n: Annotated[StrictInt, Field(ge=1)] | None = None
    return_documents: StrictBool = False
    return_text: StrictBool = False
    raw_scores: StrictBool = Field(False, description="Of texts: logits in place of values from 0 to 1.")
    truncate: StrictBool = Field(True, description="Longer texts are cut; false is not taken.")


class EmbedRequest(_Lenient):
    """/embed of text-embeddings-inference."""

    inputs: Text | list[Text]
    normalize: StrictBool = Field(True, description="Vectors have length 1; false is not taken.")
    truncate: StrictBool = Field(True, description="Longer texts are cut; false: they are refused (413).")
    prompt_name: _Name | None = None


class EmbeddingsRequest(_Lenient):
    """/v1/embeddings of OpenAI; `prompt_name`, which they do not have, is as in /embed."""

    input: Text | list[Text]
    model: _Name | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: StrictInt | None = None
    prompt_name: _Name | None = None


class SimilaritiesRequest(_Strict):
    """The tokens of a query and of a document, by a model of late interaction."""

    query: Text
    docid: Text
    model: _Name | None = None


class JudgmentRequest(_Strict):
    """What somebody says of a result: 1 relevant, 0 not, null takes it back."""

    query: Text
    docid: Text
    relevance: Annotated[StrictInt, Field(ge=0, le=1)] | None


class BlindRequest(_Strict):
    """A search by both models, in random order and without their names."""

    query: Text
    k: Annotated[StrictInt, Field(ge=1)] | None = None


class VoteRequest(_Strict):
    """Which side of a blind comparison is better."""

    id: _Name
    choice: Literal["left", "right", "tie"]
