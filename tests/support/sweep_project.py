"""The repository's configuration with a recipe `swept`: two sets, two learning rates, a tiny model with dropout."""

import random
import shutil
from pathlib import Path

import yaml
from cut_project import write
from kedro_project import REPOSITORY, empty_store
from tiny import TEXTS, tiny_encoder

_STAGES = {"finetuning": {"negatives": "given", "objective": "info_nce"}}
_SOURCES = {
    "nli": {"nli": {"kind": "premise_to_hypothesis", "path": "nli.jsonl.gz", "licence": "CC0", "stages": _STAGES}},
    "lines": {"lines": {"kind": "unsupervised", "path": "lines.jsonl.gz", "licence": "CC0", "stages": _STAGES}},
}
_STS = {"type": "sts", "path": "sts.jsonl.gz"}


def make_sweep_project(root: Path, **sweep) -> Path:
    """Write the project into `root`; `sweep` changes parameters of the sweep. Gives `root`."""
    shutil.copytree(REPOSITORY / "conf", root / "conf")
    shutil.copy(REPOSITORY / "pyproject.toml", root / "pyproject.toml")
    shutil.copy(empty_store(), root / "mlflow.db")
    (root / "src").mkdir()
    tiny_encoder(dropout=0.1).save_pretrained(str(root / "base"))
    _write_data(root / "data/01_raw/swept")
    env = root / "conf/swept"
    env.mkdir()
    (env / "globals.yml").write_text("recipe: swept\nraw_root: data/01_raw/swept\nseed: 42\n", "utf-8")
    parameters = {
        "_set": "${runtime_params:set,nli}",
        "_sources": _SOURCES,
        "sources": "${_sources.${_set}}",
        "development": {"dev": {"type": "sts", "path": "dev.jsonl.gz"}},
        "tasks": {"test": _STS, "long": {"type": "sts", "path": "long.jsonl.gz"}},
        "base_model": {"name": str(root / "base"), "training_head": "mlp"},
        "mining": {"supervised": {"max_mined": 0, "negatives": {"finetuning": 5}}},
        "finetuning": {
            "batch_size": 8, "max_examples": 64, "draw_one": True, "max_length": 32, "checkpoint_steps": 2,
            "development": {"task": "dev", "evaluations": 4, "items": 30, "keep": "best"},
        },
        "evaluation": {"max_length": 32},
        "sweep": {
            "grid": {"set": ["nli", "lines"], "finetuning.learning_rate": [0.0005, 0.003]},
            "groups": ["set"],
            "seeds": [1, 2],
            "choose": {"task": "dev", "metric": "spearman", "split": "development"},
            "chosen_tasks": ["long"],
            **sweep,
        },
    }  # fmt: skip
    (env / "parameters.yml").write_text(yaml.safe_dump(parameters, allow_unicode=True, sort_keys=False), "utf-8")
    return root


def _write_data(folder: Path) -> None:
    rng = random.Random(0)

    def sentence() -> str:
        return rng.choice(TEXTS)[:-1] + rng.choice(["らしい。", "そうだ。", "という。", "のだ。"])

    lines = list(dict.fromkeys(sentence() for _ in range(300)))
    nli = [
        {"premise": line, "hypothesis": rng.choice(lines), "label": rng.choice(["entailment", "contradiction"])}
        for line in lines
        for _ in range(3)
    ]
    write(folder / "nli.jsonl.gz", nli)
    write(folder / "lines.jsonl.gz", [{"text": line} for line in lines])
    for name, count in (("dev", 40), ("sts", 40), ("long", 60)):
        pairs = [(f"{rng.choice(TEXTS)}{name}", f"{rng.choice(TEXTS)}{name}") for _ in range(count)]
        rows = [
            {"text1": one, "text2": two, "score": len(set(one) & set(two)) + i % 3}
            for i, (one, two) in enumerate(pairs)
        ]
        write(folder / f"{name}.jsonl.gz", rows)
