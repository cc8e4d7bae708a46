"""kedro ruri index ..."""

from click.testing import CliRunner
from token_vectors import build, make_collection

from ruri_kedro.cli import cli


def test_an_index_is_exported_and_the_next_step_is_told(tmp_path):
    build(make_collection(5), tmp_path / "index")
    command = ["ruri", "index", "export", str(tmp_path / "index"), "--to", "vespa", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("5 documents in ")
    assert "vespa feed feed.jsonl" in result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"passage.sd", "feed.jsonl"}


def test_a_folder_without_an_index_is_one_line(tmp_path):
    command = ["ruri", "index", "export", str(tmp_path), "--to", "qdrant", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 1
    assert "there is no index of token vectors" in result.output
