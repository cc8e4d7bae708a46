"""The folder of an embedding model in the form that servers and older libraries read.

Since 5.4 sentence-transformers has other names for its classes and writes pooling as one word; transformers 5 has a
name of its own for a fast tokenizer. Both read the older form as well, and give the same vectors. What is older reads
nothing else: sentence-transformers before 5.4, with it Infinity (0.0.78 asks for transformers before 4.49), and
text-embeddings-inference (router/src/lib.rs: PoolConfig, STConfig).
"""

from pathlib import Path
from typing import Any

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
_TOKENIZER = "tokenizer_config.json"
_MODULES = {"Transformer", "Pooling", "Normalize"}  # that older versions have, with the same options
# Of a Transformer that makes vectors of texts, which older versions take for granted.
_TRANSFORMER = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
_OPTIONS = ("max_seq_length", "do_lower_case")  # of a Transformer, old and new


def write_older_format(folder: Path) -> None:
    """Rewrite the configuration of a folder that has a pooling; of others nothing is changed.

    A model with other modules than those of old, such as Dense, keeps the newer keys beside the older ones.
    """
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return
    transformer = read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    modules = read_json(folder / "modules.json")
    options = {key: value for key, value in transformer.items() if key in _OPTIONS}
    is_older = {_class(module) for module in modules} <= _MODULES and transformer == _TRANSFORMER | options
    write_json(path, _pooling(read_json(path), is_older))
    if transformer and (length := longest_input(folder)) is not None:
        write_json(folder / _CONFIG, {"max_seq_length": length} | (options if is_older else transformer))
    if is_older:
        renamed = [module | {"type": f"sentence_transformers.models.{_class(module)}"} for module in modules]
        write_json(folder / "modules.json", renamed)
        _name_tokenizer(folder / _TOKENIZER)


def longest_input(folder: Path) -> int | None:
    """Tokens that the model of a folder reads at most: the least that its tokenizer and its positions say."""
    tokenizer = folder / _TOKENIZER
    said = [
        read_json(folder / "config.json").get("max_position_embeddings"),
        read_json(tokenizer).get("model_max_length") if tokenizer.is_file() else None,
    ]
    lengths = [int(length) for length in said if length is not None]
    return min(lengths, default=None)


def _class(module: dict[str, Any]) -> str:
    return module["type"].rpartition(".")[2]


def _pooling(config: dict[str, Any], is_older: bool) -> dict[str, Any]:
    """The configuration of a pooling with a flag for each mode, with the newer keys beside them or not."""
    mode = config.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else mode
    if not modes:  # it has flags
        return config
    older = {"word_embedding_dimension": config["embedding_dimension"]}
    older |= {key: name in modes for name, key in _POOLING.items()}
    newer = ("embedding_dimension", "pooling_mode") if is_older else ()
    return older | {key: value for key, value in config.items() if key not in newer}


def _name_tokenizer(path: Path) -> None:
    """Give a fast tokenizer the name that older versions know; tokenizer.json, which it reads, stays as it is."""
    if path.is_file() and (config := read_json(path)).get("tokenizer_class") == "TokenizersBackend":
        write_json(path, config | {"tokenizer_class": "PreTrainedTokenizerFast"})
