"""From a row of the corpus to the stages that used it, and to the versions that were trained on it."""

import pytest
from released import example, pair, table

from ruri_kedro.errors import DataError
from ruri_kedro.registry.evidence.evidence import Evidence
from ruri_kedro.registry.evidence.training_data import stage_tables
from ruri_kedro.registry.lineage.trace import Use, trace, trace_text, users
from ruri_kedro.registry.versions import registered as versions

PASSAGES = [
    {"docid": docid, "source": "qa", "title": "富士山", "section": "", "text": f"{docid}は山である。"}
    for docid in "abcd"
]


@pytest.fixture
def passages(tmp_path):
    return table(tmp_path / "passages", "passages", PASSAGES)


@pytest.fixture
def stages(tmp_path):
    return {
        "pretraining": table(tmp_path / "1", "examples", [example(1, "b", "cd"), example(2, "c", "bb", "validation"),
                                                          example(3, "d", "cb"), example(4, "d", "")]),
        "finetuning": table(tmp_path / "2", "examples", [example(1, "b", "c")]),
    }  # fmt: skip


@pytest.fixture
def tables(tmp_path, stages):
    return {"pairs": table(tmp_path / "3", "pairs", [pair(1, "b"), pair(2, "c", "validation")]), **stages}


def test_every_use_of_a_passage_is_counted_by_role_and_split(passages, tables):
    found = trace("b", passages, tables)
    assert found.passage["text"] == "bは山である。"
    assert list(found.uses) == [
        Use("pairs", "qa", "positive", 1, 0),
        Use("pretraining", "qa", "positive", 1, 0),
        Use("pretraining", "qa", "negative", 1, 1),  # twice in one example is one example
        Use("finetuning", "qa", "positive", 1, 0),
    ]


@pytest.mark.parametrize(
    ("ident", "role", "by_table"),
    [
        ("p1", "pair", {"pairs": 1, "pretraining": 1, "finetuning": 1}),
        ("q3", "query", {"pretraining": 1}),
        ("e4", "example", {"pretraining": 1}),
        ("a", "anchor", {"pairs": 1, "pretraining": 3, "finetuning": 1}),
        ("qa", "source", {"pairs": 1, "pretraining": 3, "finetuning": 1}),
    ],
)
def test_any_id_is_found(passages, tables, ident, role, by_table):
    found = trace(ident, passages, tables)
    assert {use.role for use in found.uses} == {role}
    assert {use.table: use.train for use in found.uses} == by_table


def test_an_id_that_is_nowhere_is_an_error(passages, tables):
    with pytest.raises(DataError, match="'nobody' is not a docid, pair_id, query_id, example_id or source"):
        trace("nobody", passages, tables)


def test_versions_are_found_by_the_digests_of_what_they_were_trained_on(passages, tables, stages, monkeypatch):
    same = stage_tables(stages)
    other = {**same, "finetuning": {"rows": 1, "digest": "x", "parts": {"qa": "another"}}}
    elsewhere = {stage: {**row, "parts": {"qa": "another"}} for stage, row in same.items()}
    recorded = {("m", 1): same, ("m", 2): other, ("m", 3): elsewhere, ("n", 1): {"pretraining": same["pretraining"]}}
    monkeypatch.setattr(versions, "numbers", lambda name: [number for found, number in recorded if found == name])
    evidence = {key: Evidence(training={"tables": tables}) for key, tables in recorded.items()}
    evidence["m", 4] = recorded["m", 4] = Evidence()  # registered without any
    monkeypatch.setattr(versions, "logged_evidence", lambda name, number: evidence[name, number])
    found = trace("b", passages, tables)
    who = users(found, stages, ["m", "n"])
    assert who.stages == {
        "m version 1": ["pretraining", "finetuning"],
        "m version 2": ["pretraining"],
        "n version 1": ["pretraining"],
    }
    assert who.unknown == ["m version 3", "m version 4"]
    said = trace_text(found, who)
    assert said.startswith("b: a text of the source 'qa', 富士山\n  bは山である。\n")
    assert "m version 1 was trained on it: pretraining, finetuning\n" in said
    assert said.endswith("Unknown, since they were trained on other tables than these: m version 3, m version 4\n")


def test_a_row_of_the_validation_split_trained_nobody(passages, tables, stages, monkeypatch):
    monkeypatch.setattr(versions, "numbers", lambda name: [1])
    monkeypatch.setattr(versions, "logged_evidence", lambda *_: Evidence(training={"tables": stage_tables(stages)}))
    who = users(trace("e2", passages, tables), stages, ["m"])
    assert who.stages == {} and who.unknown == []
    assert "No registered version is known to be trained on it." in trace_text(trace("e2", passages, tables), who)
