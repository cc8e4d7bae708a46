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


def report_champions(decision: Params, promotion: Params) -> tuple[str, str]:
    """The champions so far of the model that was decided about: their curve as SVG, and a page that shows it."""
    from ruri_kedro.registry.promotion.champions import champions, champions_plot, champions_text, gated_tasks
    from ruri_kedro.registry.promotion.rules import parse_rules
    from ruri_kedro.text.pictures import svg_of

    found = champions(decision["released"])
    tasks = gated_tasks(found, parse_rules(promotion).tasks)
    return svg_of(champions_plot(found, tasks)), champions_text(decision["released"], found, tasks, "champions.svg")
