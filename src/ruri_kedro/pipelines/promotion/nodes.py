"""A registered challenger against the champion."""

from ruri_kedro.recipe.annotations import Decision, Params


def judge_challenger(promotion: Params) -> Decision:
    """What every gate says; nothing is changed."""
    from ruri_kedro.registry.promotion.promote import judge_version

    return judge_version(promotion)


def promote(decision: Decision) -> tuple[Params, str]:
    """Move the aliases if all gates passed, and put the decision on the version; gives it as JSON and as a page."""
    from ruri_kedro.registry.promotion.promote import apply_decision

    apply_decision(decision)
    return decision.to_json(), decision.to_markdown()
