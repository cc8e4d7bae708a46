"""Long passages in chunks: a question keeps the chunk that holds its answer."""

from dataclasses import replace

from ruri_kedro.corpora.kinds import Draft
from ruri_kedro.text.sentences import split_chunks


def cut_to_answer(draft: Draft, max_chars: int) -> Draft | None:
    """The draft with the chunk of its positive that holds an answer, if that is longer than `max_chars` characters.

    None where no chunk holds one, or several do: which of them answers the question is not known then.
    """
    passage = draft.positive
    if len(passage.text) <= max_chars:
        return draft
    holding = [
        chunk for chunk in split_chunks(passage.text, max_chars) if any(answer in chunk for answer in draft.answers)
    ]
    return replace(draft, positive=replace(passage, text=holding[0].strip())) if len(holding) == 1 else None
