"""Training pairs that the benchmark knows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ruri_kedro.benchmark.leaks.matches import SHORT, strength

Known = Mapping[str, Sequence[Mapping]]  # docid -> its rows of MATCHES


def find_leaks(pairs: Iterable[Mapping], matches: Iterable[Mapping]) -> Iterator[dict]:
    """Rows of LEAKS: for each pair the strongest match by part, test and role, in the order of the pairs.

    Every text of a pair is compared with every test text, and whether a match removes the pair is a matter of what
    the two are (`is_removed`):

      test text              in the anchor   in the positive or a given negative
      query                  removed         removed if exact or near, reported if contained
      STS, inference, classification or clustering text
                             removed         removed
      passage of a collection
                             reported        reported
      query and its positive, both in one pair: removed

    A training query that holds a test's query asks the same. A passage that merely holds its words may mention a
    title or a name, which are queries too; it is reported for a reader to judge. Passages are only reported because
    MIRACL's and Mr. TyDi's collections are Wikipedia itself. A query too short to count by itself (`short`) counts
    together with its positive.

    `pairs` have pair_id, anchor, positive and given_negatives (docids) and are read as a stream; `matches` are those
    of their texts, read at once.
    """
    known: dict[str, list[Mapping]] = {}
    for match in matches:
        known.setdefault(match["docid"], []).append(match)
    return (leak for pair in pairs for leak in _leaks_of(pair, known))


def is_removed(part: str, role: str, kind: str) -> bool:
    """Whether a pair is kept out of training because its `part` matches a test text of this role in this way."""
    if role == "query":
        return part == "anchor" or kind != "contained"
    return role in ("text", "pair")


def texts_to_avoid(matches: Iterable[Mapping]) -> set[str]:
    """Docids that may not be drawn as negatives nor mined as positives: in a pair of their own they would remove it.

    `matches` are rows of MATCHES.
    """
    return {
        match["docid"]
        for match in matches
        if match["kind"] != SHORT and is_removed("negative", match["role"], match["kind"])
    }


def _leaks_of(pair: Mapping, known: Known) -> Iterator[dict]:
    best: dict[tuple[str, str, str], dict] = {}
    for leak in (*_texts(pair, known), *_pairs(pair, known)):
        place = (leak["test"], leak["part"], leak["role"])
        if place not in best or strength(leak["kind"], leak["overlap"]) > strength(
            best[place]["kind"], best[place]["overlap"]
        ):
            best[place] = leak
    for place in sorted(best):
        yield best[place]


def _texts(pair: Mapping, known: Known) -> Iterator[dict]:
    """Leaks of one text each."""
    texts = [("anchor", pair["anchor"]), ("positive", pair["positive"])]
    for part, docid in (*texts, *(("negative", docid) for docid in pair["given_negatives"])):
        for match in known.get(docid, ()):
            if match["role"] != "positive" and match["kind"] != SHORT:
                yield _leak(pair, part, match, match["role"], match["kind"], match["overlap"])


def _pairs(pair: Mapping, known: Known) -> Iterator[dict]:
    """Leaks of both texts: a test's query and one of its positives; as strong as the weaker of the two matches."""
    queries = {
        (match["test"], match["item_id"]): match for match in known.get(pair["anchor"], ()) if match["role"] == "query"
    }
    for match in known.get(pair["positive"], ()):
        query = queries.get((match["test"], match["item_id"])) if match["role"] == "positive" else None
        if query:
            weaker = match if query["kind"] == SHORT else min(query, match, key=_strength)
            yield _leak(pair, "pair", match, "pair", weaker["kind"], min(query["overlap"], match["overlap"]))


def _strength(match: Mapping) -> tuple[int, float]:
    return strength(match["kind"], match["overlap"])


def _leak(pair: Mapping, part: str, match: Mapping, role: str, kind: str, overlap: float) -> dict:
    return {
        "pair_id": pair["pair_id"],
        "part": part,
        "docid": match["docid"],
        "test": match["test"],
        "role": role,
        "item_id": match["item_id"],
        "kind": kind,
        "overlap": overlap,
        "removed": is_removed(part, role, kind),
    }
