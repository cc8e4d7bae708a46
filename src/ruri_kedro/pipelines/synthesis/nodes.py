"""Questions and inferences that a language model writes about passages; sent when the set is saved."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ruri_kedro.corpora.synthesis.build import build_set, read_reports
from ruri_kedro.corpora.synthesis.session import Session
from ruri_kedro.corpora.synthesis.settings import parse_settings
from ruri_kedro.recipe.annotations import Params


def write_sets(raw: Path, synthesis: Params) -> dict[str, Callable[[Path], None]]:
    """What makes each set in its folder: AutoWikiQA and AutoWikiNLI (Ruri, Section 2.2)."""
    settings, sets = parse_settings(synthesis)
    session = Session(settings)
    return {wanted.name: partial(build_set, wanted, session, raw) for wanted in sets}


def report_sets(synthetic: Path, synthesis: Params) -> Params:
    """Rows, rejects by reason, tokens and cost of each set."""
    return read_reports(synthetic, *parse_settings(synthesis))
