"""Training pairs that the benchmark knows."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ruri_kedro.errors import DataError, RecipeError
from ruri_kedro.text.normalize import match_key

_DIGEST_BYTES = 12  # 96 bits: no collision to expect at 10^9 texts

Index = dict[bytes, frozenset[str]]  # digest of a text's key -> names of the tests that hold the text


@dataclass
class _TestIndex:
    """Digests of the test texts by kind of leak; about 100 bytes per distinct text, whatever its length."""

    query: Index = field(default_factory=dict)
    text: Index = field(default_factory=dict)
    pair: Index = field(default_factory=dict)
    passage: Index = field(default_factory=dict)


def find_leaks(pairs: Iterable[Mapping], test_texts: Iterable[Mapping], min_chars: int = 5) -> Iterator[dict]:
    """Rows of LEAKS: one per pair, test and kind, in the order of the pairs.

    The rule, on the form in which two texts count as the same (`text.normalize.match_key`):
      query    the anchor is a test's query                                                     removed
      text     the anchor or the positive is a text of an STS, inference, classification or
               clustering test                                                                  removed
      pair     anchor and positive are a test's query and one of its positives                  removed
      passage  the positive is a passage of a test's collection                                 reported only
    Passages are only reported because MIRACL's and Mr. TyDi's collections are Wikipedia itself. A key of less than
    `min_chars` characters is ignored ('はい' is no leak); a pair's key is that of both texts together. Matches are
    exact, so `overlap` is 1.

    `pairs` have pair_id, anchor_text and positive_text and are read as a stream; `test_texts` are rows of TEST_TEXTS,
    read at once. Raises DataError for a role that is not known or a positive without its query, RecipeError where
    `min_chars` is not positive.
    """
    if min_chars < 1:
        raise RecipeError(f"min_chars: {min_chars} given. Give 1 or more: texts of punctuation alone are all the same.")
    known = _index(test_texts, min_chars)
    return (leak for pair in pairs for leak in _leaks_of(pair, known, min_chars))


def _leaks_of(pair: Mapping, known: _TestIndex, min_chars: int) -> Iterator[dict]:
    anchor_key, positive_key = match_key(pair["anchor_text"]), match_key(pair["positive_text"])
    anchor = _digest(min_chars, anchor_key)
    positive = _digest(min_chars, positive_key)
    found = {
        "query": known.query.get(anchor, frozenset()),
        "text": known.text.get(anchor, frozenset()) | known.text.get(positive, frozenset()),
        "pair": known.pair.get(_digest(min_chars, anchor_key, positive_key), frozenset()),
        "passage": known.passage.get(positive, frozenset()),
    }
    for kind, tests in found.items():
        for test in sorted(tests):
            removed = kind != "passage"
            yield {"pair_id": pair["pair_id"], "test": test, "kind": kind, "overlap": 1.0, "removed": removed}


def _index(test_texts: Iterable[Mapping], min_chars: int) -> _TestIndex:
    known = _TestIndex()
    tests: dict[frozenset[str], frozenset[str]] = {}
    query_keys: dict[tuple[str, str], str] = {}
    positive_keys: list[tuple[str, str, str]] = []

    def add(index: Index, test: str, *keys: str) -> None:
        digest = _digest(min_chars, *keys)
        if digest:
            names = index.get(digest, frozenset()) | {test}
            index[digest] = tests.setdefault(names, names)  # one object per set of tests, not per text

    for row in test_texts:
        test, role, key = row["test"], row["role"], match_key(row["text"])
        if role in ("query", "text", "passage"):
            add(getattr(known, role), test, key)
        elif role != "positive":
            raise DataError(f"test '{test}', item '{row['item_id']}', field 'role': '{role}' is not known.")
        if role == "query":
            query_keys[test, row["item_id"]] = key
        elif role == "positive":
            positive_keys.append((test, row["item_id"], key))
    for test, item_id, key in positive_keys:
        if (test, item_id) not in query_keys:
            raise DataError(f"test '{test}', item '{item_id}', role 'positive': there is no query with this item_id.")
        add(known.pair, test, query_keys[test, item_id], key)
    return known


def _digest(min_chars: int, *keys: str) -> bytes:
    """Digest of one key, or of the two of a pair; empty where they are too short to count."""
    if sum(map(len, keys)) < min_chars:
        return b""
    # A key holds letters and digits only, so the separator keeps the two apart.
    return hashlib.blake2b("\n".join(keys).encode("utf-8"), digest_size=_DIGEST_BYTES).digest()
