"""What the recipe mini asks a language model about."""

from pathlib import Path

import pytest
import yaml
from kedro_project import REPOSITORY
from synthesis_parameters import INFERENCE, QUESTIONS, parameters

from ruri_kedro.corpora.reading import drafts
from ruri_kedro.corpora.synthesis.choose import choose
from ruri_kedro.corpora.synthesis.settings import parse_settings

RAW = Path(__file__).parents[3].parent / "shared" / "data" / "ja"


def test_mini_has_excerpts_for_both_sets(tmp_path):
    if not RAW.is_dir():
        pytest.skip("the Wikipedia leads are not in shared/data")
    mini = yaml.safe_load((REPOSITORY / "conf/mini/parameters_synthesis.yml").read_text("utf-8"))["synthesis"]
    settings, sets = parse_settings(parameters(tmp_path, sets=mini["sets"]))
    assert [wanted.name for wanted in sets] == [QUESTIONS, INFERENCE]
    for wanted in sets:
        excerpts = choose(
            (draft.positive for _, draft in drafts(wanted.source, RAW)), wanted.row.task.cut, wanted.row, settings.seed
        )
        assert len(excerpts) == wanted.row.count == 20
        assert all(wanted.row.min_chars <= len(text.text) <= wanted.row.max_chars for text in excerpts)
