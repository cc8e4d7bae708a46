"""Token ids on disk are those of the tokenizer, made once, kept when a run is killed."""

import numpy as np
import pytest
import transformers
from tiny import TEXTS, tiny_encoder

from ruri_kedro.models import token_cache
from ruri_kedro.models.token_cache import TokenCache, tokenizer_digest
from ruri_kedro.models.tokens import tokenize


@pytest.fixture(scope="module")
def fast():
    return tiny_encoder().tokenizer


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """BERT's Japanese tokenizer: MeCab with unidic-lite, then word pieces."""
    vocabulary = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    pieces = sorted({piece for text in TEXTS for word in text for piece in (word, f"##{word}")})
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]), encoding="utf-8")
    return transformers.BertJapaneseTokenizer(
        str(vocabulary), word_tokenizer_type="mecab", mecab_kwargs={"mecab_dic": "unidic_lite"}
    )


def refuse(*_, **__):
    raise AssertionError("a text is tokenised again")


def assert_same(rows, expected):
    assert rows.lengths.tolist() == expected.lengths.tolist()
    for number in range(len(expected.lengths)):
        assert rows.row(number).tolist() == expected.row(number).tolist()


@pytest.mark.parametrize("kind", ["fast", "slow"])
@pytest.mark.parametrize(("max_length", "special"), [(None, False), (None, True), (9, True), (9, False), (500, True)])
def test_rows_of_the_cache_are_those_of_the_tokenizer(kind, max_length, special, tmp_path, request):
    tokenizer = request.getfixturevalue(kind)
    texts = [*TEXTS, "", TEXTS[3] * 20, TEXTS[0]]
    cache = TokenCache(tmp_path, tokenizer)
    assert_same(cache.rows(texts, max_length, special), tokenize(tokenizer, texts, max_length, special))


def test_a_second_run_tokenises_what_is_new_only(fast, tmp_path, monkeypatch):
    TokenCache(tmp_path, fast).rows(TEXTS[:20], None)
    seen = []
    monkeypatch.setattr(token_cache, "tokenize", lambda t, texts, *rest, **named: seen.extend(texts) or tokenize(
        t, texts, *rest, **named))  # fmt: skip
    rows = TokenCache(tmp_path, fast).rows(TEXTS[::-1], 16)
    assert sorted(seen) == sorted(TEXTS[20:])
    assert_same(rows, tokenize(fast, TEXTS[::-1], 16))
    monkeypatch.setattr(token_cache, "tokenize", refuse)
    again = TokenCache(tmp_path, fast).rows(TEXTS, 16)
    assert_same(again, tokenize(fast, TEXTS, 16))
    assert all(
        isinstance(ids, np.ndarray) and not ids.flags.writeable and not ids.flags.owndata for ids in again.arrays
    )


def test_a_killed_run_continues_behind_its_last_file(fast, tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "_SHARD_TEXTS", 10)
    monkeypatch.setattr(token_cache, "_TASK_TEXTS", 4)
    calls = []

    def interrupted(tokenizer, texts, *rest, **named):
        calls.append(len(texts))
        if sum(calls) > 24:
            raise KeyboardInterrupt
        return tokenize(tokenizer, texts, *rest, **named)

    monkeypatch.setattr(token_cache, "tokenize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        TokenCache(tmp_path, fast).rows(TEXTS, None)
    (tmp_path / TokenCache(tmp_path, fast).digest / ".writing-half.arrow-1234").write_bytes(b"half")
    assert len(list(tmp_path.glob("*/[!.]*.arrow"))) == 2
    calls.clear()
    monkeypatch.setattr(token_cache, "tokenize", lambda t, texts, *rest, **named: calls.append(len(texts)) or tokenize(
        t, texts, *rest, **named))  # fmt: skip
    assert_same(TokenCache(tmp_path, fast).rows(TEXTS, None), tokenize(fast, TEXTS, None))
    assert sum(calls) == len(TEXTS) - 20


def test_texts_are_found_in_many_files(fast, tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "_SHARD_TEXTS", 3)
    monkeypatch.setattr(token_cache, "_MERGED", 8)
    cache = TokenCache(tmp_path, fast)
    for start in range(0, len(TEXTS), 5):
        cache.rows(TEXTS[start : start + 5], None)
    monkeypatch.setattr(token_cache, "tokenize", refuse)
    assert_same(cache.rows(TEXTS[::-1], None), tokenize(fast, TEXTS[::-1], None))
    again = TokenCache(tmp_path, fast)
    rows = again.rows(TEXTS, None)
    assert_same(rows, tokenize(fast, TEXTS, None))
    assert len(again.files) >= len(TEXTS) // 3 and again.has(again.files) and not again.has(["other.arrow"])
    for mapped, ids in zip(again.arrays(again.files), rows.arrays, strict=True):
        assert mapped.tolist() == ids.tolist()


def test_several_processes_give_the_ids_of_one(slow, tmp_path, monkeypatch):
    monkeypatch.setattr(token_cache, "_TASK_TEXTS", 5)
    assert_same(TokenCache(tmp_path, slow, workers=2).rows(TEXTS, 12), tokenize(slow, TEXTS, 12))


def test_a_tokenizer_is_known_by_its_pieces_not_by_its_last_call(fast, slow):
    before = tokenizer_digest(fast)
    fast(TEXTS[:2], truncation=True, max_length=5, padding="max_length")
    assert tokenizer_digest(fast) == before != tokenizer_digest(slow)
    other = tiny_encoder(hidden=16).tokenizer
    assert tokenizer_digest(other) == before
    other.add_tokens(["図書館"])
    assert tokenizer_digest(other) != before
