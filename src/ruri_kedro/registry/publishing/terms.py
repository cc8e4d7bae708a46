"""Under which licences a model or a data set goes out: the block `publication` of a recipe, checked."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Len

from ruri_kedro.recipe.parse import parameters, parse
from ruri_kedro.registry.promotion.rules import USES

Name = Annotated[str, Len(1)]


@parameters
class Licences:
    """The licence of a model and that of a data set, as the hub names them."""

    model: Name
    dataset: Name


@parameters
class Terms:
    """Parameters `publication`."""

    licence: Licences
    model: Mapping[str, Literal[USES]]  # by licence of the model the use that its sources must allow
    dataset: Mapping[str, tuple[str, ...]]  # by licence of a source the licences that its texts may go out under
    synthetic: Mapping[str, str]  # by source how its rows were written


def parse_terms(publication: Mapping[str, Any]) -> Terms:
    """The terms. Raises RecipeError that names the parameter and what is allowed."""
    return parse(Terms, publication, "publication")
