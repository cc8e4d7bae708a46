"""Sets of ids as arrays, against Python's sets."""

from hypothesis import given
from hypothesis import strategies as st

from ruri_kedro.tables.ids import IdList, among, distinct_ids

IDS = st.lists(st.text("abc01-", max_size=6), max_size=12)


@given(st.lists(IDS, max_size=6), IDS)
def test_they_hold_what_a_set_holds(batches, asked):
    expected = {name for batch in batches for name in batch if name}
    ids = distinct_ids(batches)
    assert list(IdList(ids)) == sorted(expected)
    assert among(asked, ids).tolist() == [name in expected for name in asked]
