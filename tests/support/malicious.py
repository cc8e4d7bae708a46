"""Models whose files ask for code to be run: each attack changes a copy of a sound model's folder."""

import json
import pickle
from pathlib import Path

MODULE = "planted_by_a_model"  # a module that whoever imports it has run


def plant(folder: Path, marker: Path) -> Path:
    """A Python file in the folder that writes `marker` when it is run."""
    path = folder / f"{MODULE}.py"
    path.write_text(f"from pathlib import Path\nPath({str(marker)!r}).write_text('run')\nclass Evil: ...\n", "utf-8")
    return path


def edit(path: Path, **values) -> None:
    """Set keys of a JSON object in a file."""
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(found | values, ensure_ascii=False), "utf-8")


def unknown_architecture(folder: Path) -> None:
    names = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForSequenceClassification"), f"{MODULE}.Evil")
    edit(folder / "config.json", model_type="evil", auto_map=names)


def known_architecture(folder: Path) -> None:
    edit(folder / "config.json", auto_map={"AutoModel": f"{MODULE}.Evil"})


def code_of_another_repository(folder: Path) -> None:
    edit(folder / "config.json", auto_map={"AutoModel": f"owner/other--{MODULE}.Evil"})


def processor(folder: Path) -> None:
    edit(folder / "processor_config.json", processor_class="Evil", auto_map={"AutoProcessor": f"{MODULE}.Evil"})


def module(folder: Path, name: str = f"{MODULE}.Evil") -> None:
    path = folder / "modules.json"
    rows = json.loads(path.read_text("utf-8"))
    row = {"idx": len(rows), "name": str(len(rows)), "path": "evil", "type": name}
    path.write_text(json.dumps([*rows, row]), "utf-8")
    (folder / "evil").mkdir()


def module_that_is_no_module(folder: Path) -> None:
    """What sentence-transformers trusts by the start of its name: it then calls `load` of whatever it finds."""
    module(folder, "sentence_transformers.base.model.pickle")


def router(folder: Path) -> None:
    module(folder, "sentence_transformers.base.modules.router.Router")
    edit(folder / "evil/router_config.json", types={"a": f"{MODULE}.Evil"}, structure={"a": ["a"]}, parameters={})


def activation(folder: Path) -> None:
    module(folder, "sentence_transformers.base.modules.dense.Dense")
    edit(folder / "evil/config.json", in_features=2, out_features=2, activation_function=f"{MODULE}.Evil")


def activation_of_torch(folder: Path) -> None:
    """A CrossEncoder calls it, whatever it is."""
    edit(folder / "config.json", sentence_transformers={"activation_fn": "torch.hub.list"})


def words(folder: Path) -> None:
    module(folder, "sentence_transformers.sentence_transformer.modules.word_embeddings.WordEmbeddings")
    edit(folder / "evil/wordembedding_config.json", tokenizer_class=f"{MODULE}.Evil")


def pickled_module(folder: Path) -> None:
    module(folder, "sentence_transformers.base.modules.dense.Dense")
    edit(folder / "evil/config.json", in_features=2, out_features=2)
    (folder / "evil/pytorch_model.bin").write_bytes(pickle.dumps({"linear.weight": 1}))


def unpickled_weights(folder: Path) -> None:
    edit(folder / "sentence_bert_config.json", model_args={"weights_only": False})


def kernel(folder: Path) -> None:
    edit(folder / "config.json", attn_implementation="owner/kernel")


def kernel_of_arguments(folder: Path) -> None:
    edit(folder / "sentence_bert_config.json", model_args={"attn_implementation": {"": "owner/kernel"}})


def adapter(folder: Path) -> None:
    edit(folder / "adapter_config.json", base_model_name_or_path="owner/other", auto_mapping={"parent_library": MODULE})


def library_of_sudachi(folder: Path) -> None:
    """Sudachi loads the program libraries that its configuration names as plug-ins."""
    edit(folder / "tokenizer_config.json", word_tokenizer_type="sudachi", sudachi_kwargs={"sudachi_config_path": "x"})


ATTACKS = {
    attack.__name__: attack
    for attack in (
        unknown_architecture, known_architecture, code_of_another_repository, processor, module,
        module_that_is_no_module, router, activation, activation_of_torch, words, pickled_module, unpickled_weights,
        kernel, kernel_of_arguments, adapter, library_of_sudachi,
    )
}  # fmt: skip
