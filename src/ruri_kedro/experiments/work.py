"""What the code of a step is, for its key."""

from collections.abc import Callable

from kedro.pipeline import Node

from ruri_kedro.benchmark.tasks.types import work_by_type
from ruri_kedro.models.kinds import kinds_of, work_by_kind
from ruri_kedro.recipe.stages import STAGES


def work_of(node: Node) -> list[Callable | str]:
    """What does the work of a node: its function, and what that finds in a table.

    Of a training that is what the table of kinds names by address, else the functions of the types of task, or of the
    kinds of base model.
    """
    stages = [stage for stage in STAGES.values() if stage.node == node.short_name]
    kinds = [(stage, kind) for stage in stages for kind in kinds_of(stage.kind)]
    addresses = [a for stage, kind in kinds for a in (kind.start, stage.train or kind.train, kind.finish) if a]
    trained = (address.replace(":", ".") for address in addresses)
    return [node.func, *work_by_type(node.func), *work_by_kind(node.func), *trained]
