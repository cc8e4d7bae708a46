"""Shards made by Ray, against those made in this process."""

import mining_run
import pytest
from table_run import SHARD_CHARS, SOURCES, write_raw
from tiny import tiny_encoder

from ruri_kedro.corpora import reading
from ruri_kedro.corpora.build import pair_parts, passage_parts
from ruri_kedro.corpora.source import parse_sources
from ruri_kedro.engines import engine as engines
from ruri_kedro.engines.engine import engine_of
from ruri_kedro.errors import RecipeError
from ruri_kedro.tables import SCHEMAS, Part, write_table


@pytest.fixture(scope="module")
def ray():
    """A local cluster of two workers."""
    module = pytest.importorskip("ray", reason="the extra scale is not installed")
    module.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield module
    module.shutdown()


def files(root):
    """The bytes of every file below `root`."""
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_ray_makes_the_same_files(ray, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SHARD_CHARS", SHARD_CHARS)
    write_raw(tmp_path / "raw")
    sources = parse_sources(SOURCES)
    for table, parts in (("passages", passage_parts), ("pairs", pair_parts)):
        for name in ("local", "ray"):
            made = parts(sources, tmp_path / "raw", engine=engine_of(name))
            write_table(tmp_path / name / table, SCHEMAS[table], made)
    local, by_ray = (files(tmp_path / name) for name in ("local", "ray"))
    assert len(local) > 12 and local == by_ray


@pytest.mark.slow
def test_ray_encodes_and_mines_the_same_files(ray, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SHARD_CHARS", SHARD_CHARS)
    write_raw(tmp_path / "raw")
    sources = parse_sources(SOURCES)
    by_engine = {}
    for name in ("local", "ray"):
        root = tmp_path / name
        tiny_encoder().save_pretrained(str(root / "model"))
        passages = write_table(root / "passages", SCHEMAS["passages"], passage_parts(sources, tmp_path / "raw"))
        write_table(root / "pairs", SCHEMAS["pairs"], pair_parts(sources, tmp_path / "raw"))
        for table in ("leaks", "matches"):
            write_table(root / table, SCHEMAS[table], {part: Part("", list) for part in passages.parts()})
        mining_run.mine(root, name)
        by_engine[name] = {folder: files(root / folder) for folder in ("embeddings", "cache", *mining_run.TABLES)}
    assert all(len(by_engine["local"][folder]) > 5 for folder in ("candidates", "cache"))  # several shards
    assert by_engine["local"] == by_engine["ray"]


def test_an_engine_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(RecipeError, match=r"engine: 'spark' is unknown. Allowed: local, ray"):
        engine_of("spark")
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"engine: ray is not installed. Install it \(pip install"):
        engine_of("ray")
