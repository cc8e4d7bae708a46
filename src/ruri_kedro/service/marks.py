"""Which words of a document are words of the query."""

from ruri_kedro.search.bm25.sudachi import term_spans

_MODE = "a"  # the shortest words


def marks(query: str, texts: dict[str, str]) -> dict[str, list[tuple[int, int]]]:
    """Of each text, by docid, the (first, behind last) characters of words whose normal form the query has, too.

    For one thread at a time. Words that follow each other are one piece.
    """
    spans = term_spans(_MODE)
    wanted = {term for term, _, _ in spans(query)}
    found: dict[str, list[tuple[int, int]]] = {}
    for docid, text in texts.items():
        pieces: list[tuple[int, int]] = []
        for term, start, stop in spans(text):
            if term not in wanted:
                continue
            if pieces and pieces[-1][1] == start:
                pieces[-1] = (pieces[-1][0], stop)
            else:
                pieces.append((start, stop))
        found[docid] = pieces
    return found
