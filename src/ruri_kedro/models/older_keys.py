"""Keys by which servers and older libraries read the folder of an embedding model.

sentence-transformers writes pooling as one word since 5.4 and no longer writes the longest input. Its readers take the
old keys beside the new ones; text-embeddings-inference (router/src/lib.rs: PoolConfig, STConfig) and others take only
the old ones, and end with an error or pool in another way without them.
"""

from pathlib import Path

from ruri_kedro.tables.files import read_json, write_json

_POOLING = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
_CONFIG = "sentence_bert_config.json"


def add_older_keys(folder: Path) -> None:
    """Add the keys to a folder that has a pooling; of others nothing is changed, and what is there stays."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return
    pooling = read_json(path)
    mode = pooling.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else mode
    if modes:
        old = {key: name in modes for name, key in _POOLING.items()}
        write_json(path, {"word_embedding_dimension": pooling["embedding_dimension"], **old, **pooling})
    if (folder / _CONFIG).is_file() and (length := longest_input(folder)) is not None:
        write_json(folder / _CONFIG, {"max_seq_length": length, **read_json(folder / _CONFIG)})


def longest_input(folder: Path) -> int | None:
    """Tokens that the model of a folder reads at most: the least that its tokenizer and its positions say."""
    tokenizer = folder / "tokenizer_config.json"
    said = [
        read_json(folder / "config.json").get("max_position_embeddings"),
        read_json(tokenizer).get("model_max_length") if tokenizer.is_file() else None,
    ]
    lengths = [int(length) for length in said if length is not None]
    return min(lengths, default=None)
