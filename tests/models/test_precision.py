"""Which precision `auto` stands for, and where a recipe leaves it to the machine."""

import pytest

from ruri_kedro.models import precision
from ruri_kedro.models.precision import automatic, fastest


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags : avx2 avx512f", "float32"), ("flags : avx512_bf16 avx2", "bfloat16"), ("flags: amx_bf16", "bfloat16"),
     ("flags : not_amx_bf16x", "float32"), (None, "float32")],
)  # fmt: skip
def test_a_processor_with_units_for_it_computes_in_bfloat16(tmp_path, monkeypatch, flags, expected):
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(precision, "_CPU_INFO", info)
    monkeypatch.setattr(precision, "_NVIDIA", tmp_path / "none")
    assert fastest("auto") == fastest("cpu") == expected


def test_only_precisions_are_left_to_the_machine():
    recipe = {
        "encoding": {"precision": "auto", "device": "auto"},
        "finetuning": {"teacher_precision": "auto", "precision": "float32"},
        "reranking": {"stage1": {"precision": "auto"}},
        "sources": {"imprecision": "auto"},
    }
    found = {".".join(place) for place in automatic(recipe)}
    assert found == {"encoding.precision", "finetuning.teacher_precision", "reranking.stage1.precision"}
