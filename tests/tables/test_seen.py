"""Exact deduplication against a set in memory."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ruri_kedro.tables import seen
from ruri_kedro.tables.seen import Seen
from ruri_kedro.text.hashing import stable_id

# Ids that end in zero bytes, which numpy's byte strings drop, among ids that do not.
IDS = [stable_id(str(number)) for number in range(30)] + ["ab" + "00" * 11, "ab" * 11 + "00", "00" * 12, "ab" * 12]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.sampled_from(IDS), max_size=12), max_size=12))
def test_an_id_is_new_once(batches):
    ours, known = Seen(), set()
    for batch in batches:
        expected = [id_ not in known and id_ not in batch[:place] for place, id_ in enumerate(batch)]
        assert ours.add(batch).tolist() == expected
        known.update(batch)


def test_runs_that_are_full_are_not_merged(monkeypatch):
    monkeypatch.setattr(seen, "_MERGED", 8)
    ids = [stable_id(str(number)) for number in range(100)]
    ours = Seen()
    assert all(ours.add(ids[start : start + 3]).all() for start in range(0, 100, 3))
    assert not ours.add(ids).any()
