"""benchmarks/gpu.py at toy size on a CPU: every part says what it found, and trainings are continued exactly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kedro_project import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def lines(monkeypatch, tmp_path, capsys):
    """The lines that a part prints, done in this process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_measure
    import gpu_parts
    from peers import read_pairs, write_bert

    def of(part: str) -> list[dict]:
        pairs = read_pairs(None)[:32]
        write_bert(tmp_path / "model", 2, 48, pairs)
        sizes = {"seconds": 0.0, "chunk": 1024, "batch": 4, "large": 16, "groups": 1, "texts": 16, "steps": 4}
        vectors = {"large_model": (2, 48), "documents": 200, "queries": 10}
        work = gpu_measure.Work(device="cpu", model=tmp_path / "model", pairs=pairs, **sizes, **vectors)
        assert gpu_parts.run(part, work) is None
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return of


def test_a_training_that_was_stopped_ends_with_the_same_weights(lines):
    for line in lines("resume"):
        assert (line["steps"], line["continued_with_step"]) == (4, 3), line
        assert line["repeatable"] and line["exact"], line


def test_both_sides_of_fine_tuning_start_with_the_same_loss(lines):
    ours, peer = lines("finetuning")
    assert ours["way"] == "ours" and peer["way"].startswith("sentence-transformers")
    assert ours["loss"] == pytest.approx(peer["loss"], rel=0.1)  # the peer has its loss in bfloat16
    assert ours["speed"] > 0 and peer["speed"] > 0


def test_missing_wheels_are_named_with_their_versions(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    monkeypatch.setattr(gpu, "find_spec", lambda module: None if module in ("faiss", "tqdm") else object())
    assert [wheel.split(">")[0] for wheel in gpu.missing_wheels()] == ["faiss-cpu", "tqdm"]


def test_a_part_that_fails_or_takes_too_long_is_a_line(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from figures import alone

    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        alone(divmod, 1, 0, seconds=60)
    with pytest.raises(RuntimeError, match="exit code 3"):
        alone(sys.exit, 3, seconds=60)
    with pytest.raises(TimeoutError, match="not done after 0 s"):
        alone(divmod, 1, 1, seconds=0.01)


@pytest.mark.slow
def test_every_part_runs_at_toy_size(tmp_path: Path):
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--quick", "--minutes", "40"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    ends = {line["part"]: line for line in lines if "seconds" in line}
    parts = [
        "finetuning",
        "reranker",
        "encoding",
        "attention",
        "compile",
        "large_batch",
        "search",
        "processes",
        "resume",
    ]
    assert list(ends) == [*parts, "all"]
    assert {part for part, line in ends.items() if "skipped" in line} == {"attention"}
    assert not [line for line in lines if "error" in line], done.stderr
    found = {part: [line for line in lines if line["part"] == part and "way" in line] for part in parts}
    assert all(found[part] for part in parts if part != "attention")
    assert all(line["exact"] for line in found["resume"])
