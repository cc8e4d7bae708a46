"""N-grams by hash are n-grams; bands find what they promise."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import jaccard_score

from ruri_kedro.text.overlap import HashIndex, MinHash, by_chars, containment, jaccard, ngram_hashes, ngrams

keys = st.text("abあ亜𠮷", max_size=12)


@given(st.lists(keys, max_size=5), st.integers(1, 4))
def test_hashes_are_equal_where_n_grams_are(texts, n):
    hashes, offsets = ngram_hashes(texts, n)
    grams = [text[i : i + n] for text in texts for i in range(len(text) - n + 1)]
    assert offsets.tolist() == [0, *np.cumsum([max(len(text) - n + 1, 0) for text in texts])]
    known: dict[str, int] = {}
    assert all(known.setdefault(gram, value) == value for gram, value in zip(grams, hashes.tolist(), strict=True))
    assert len(set(known.values())) == len(known)


@given(keys, keys, st.integers(1, 3))
def test_measures_agree_with_sets_of_another_library(first, second, n):
    vectorizer = CountVectorizer(analyzer="char", ngram_range=(n, n), binary=True, lowercase=False)
    if not ngrams(first, n) or not ngrams(second, n):
        assert containment(first, second, n) == 0
        return
    one, two = vectorizer.fit_transform([first, second]).toarray()
    assert jaccard(first, second, n) == pytest.approx(jaccard_score(one, two))
    assert containment(first, second, n) == pytest.approx((one & two).sum() / min(one.sum(), two.sum()))


entries = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), max_size=40)


@given(entries, entries, st.integers(1, 10))
def test_the_index_counts_what_two_sides_share(indexed, asked, block):
    def columns(rows):
        return np.array([h << 60 for h, _ in rows], dtype=np.uint64), np.array([o for _, o in rows], dtype=np.int64)

    index = HashIndex(*columns(indexed))
    index._BLOCK = block
    askers, owners, counts = index.shared(*columns(asked))
    found = dict(zip(zip(askers.tolist(), owners.tolist(), strict=True), counts.tolist(), strict=True))
    owned = {o: {h for h, other in indexed if other == o} for _, o in indexed}
    wanted = {a: {h for h, other in asked if other == a} for _, a in asked}
    expected = {(a, o): len(wanted[a] & owned[o]) for a in wanted for o in owned if wanted[a] & owned[o]}
    assert found == expected and list(found) == sorted(found)
    assert index.counts(6).tolist() == [len(owned.get(o, ())) for o in range(6)]


def test_equal_keys_share_every_bucket_and_bands_are_kept_apart():
    buckets = MinHash(ngram=2, bands=8, rows=2).buckets(["日本の首都", "日本の首都", "料理の作り方"])
    assert (buckets[0] == buckets[1]).all() and not (buckets[0] == buckets[2]).any()
    assert len(set(buckets[0].tolist())) == 8


@pytest.mark.parametrize(("bands", "rows"), [(42, 3), (20, 6), (8, 4)])
def test_a_band_is_shared_as_often_as_the_formula_says(bands, rows):
    draw = random.Random(1)
    alphabet = [chr(code) for code in range(0x4E00, 0x5E00)]
    similarity = 0.6
    pairs = []
    for _ in range(600):
        chars = draw.sample(alphabet, 250)
        pairs += ["".join(chars[:200]), "".join(chars[50:])]  # 150 of 250 characters are in both
    assert jaccard(pairs[0], pairs[1], 1) == similarity
    buckets = MinHash(ngram=1, bands=bands, rows=rows).buckets(pairs)
    share = (buckets[0::2] == buckets[1::2]).any(axis=1).mean()
    expected = 1 - (1 - similarity**rows) ** bands
    assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 600) ** 0.5 + 0.02)


@given(st.lists(st.tuples(keys, keys)), st.integers(1, 20))
def test_blocks_hold_every_text_once_and_are_not_longer_than_wanted(texts, chars):
    blocks = list(by_chars(texts, chars))
    assert [item for ids, block in blocks for item in zip(ids, block, strict=True)] == texts
    for _, block in blocks[:-1]:
        assert sum(map(len, block[:-1])) < chars <= sum(map(len, block))
