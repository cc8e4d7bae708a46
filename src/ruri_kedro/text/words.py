"""Text that was cut into words, put together again."""

from itertools import pairwise


def join_words(words: list[str]) -> str:
    """Segmented text put together: a space stays between two ASCII words, not around brackets and punctuation."""
    text = words[0] if words else ""
    for left, right in pairwise(words):
        number = left in ".,:" and right[0].isdigit() and text[-2:-1].isdigit()
        ascii_words = left.isascii() and right.isascii()
        spaced = ascii_words and left[-1] not in "([" and right[0] not in ")],.:;!?%" and not number
        text += f" {right}" if spaced else right
    return text
