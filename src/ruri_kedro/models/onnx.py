"""Models as ONNX: exported by torch, quantised and run by ONNX Runtime.

The graph is the transformer alone, in the place and with the names that sentence-transformers' own back end uses
(`onnx/model.onnx`, `input_ids` and so on): pooling, prompts and tokens stay those of the folder.
"""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers.modeling_outputs import ModelOutput

from ruri_kedro.errors import RecipeError
from ruri_kedro.models.foreign_code import open_model
from ruri_kedro.models.kinds import kind_called, model_class

GRAPH = "onnx/model.onnx"
INT8_GRAPH = "onnx/model_qint8.onnx"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export_onnx(model: Path, kind: str, out: Path, int8: bool = False) -> list[str]:
    """Copy the model's folder to `out` and add its graph, with `int8` a second one with weights of 8 bits.

    Gives the graphs' names below `out`. Raises RecipeError where the packages of the extra `onnx` are missing.
    """
    _require_packages()
    shutil.copytree(model, out, dirs_exist_ok=True)
    (out / GRAPH).parent.mkdir(exist_ok=True)
    loaded = open_model(
        model_class(kind_called(kind)), model, device="cpu", model_kwargs={"attn_implementation": "eager"}
    )
    _export(loaded, kind, out / GRAPH)
    if not int8:
        return [GRAPH]
    _quantize(out / GRAPH, out / INT8_GRAPH)
    return [GRAPH, INT8_GRAPH]


def load_onnx(folder: Path, kind: str, graph: str = GRAPH) -> SentenceTransformer | CrossEncoder:
    """The model of an exported folder, its transformer run by ONNX Runtime on the CPU."""
    _require_packages()
    model = open_model(model_class(kind_called(kind)), folder, device="cpu")
    model[0].model = _OnnxBody(folder / graph, model[0].model.config, kind_called(kind).onnx_output)
    return model


class _Graph(torch.nn.Module):
    """The transformer with named tensors in and one out."""

    def __init__(self, body: torch.nn.Module, inputs: Sequence[str], output: str) -> None:
        super().__init__()
        self.body, self._inputs, self._output = body, inputs, output

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return getattr(self.body(**dict(zip(self._inputs, tensors, strict=True))), self._output)


class _OnnxBody(torch.nn.Module):
    """A graph in the place of a transformer."""

    def __init__(self, graph: Path, config: Any, output: str) -> None:
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        self._output = output
        self.config = config

    def forward(self, **features: Any) -> ModelOutput:
        tensors = {name: features[name].numpy() for name in self._inputs}
        (found,) = self._session.run([self._output], tensors)
        return ModelOutput({self._output: torch.from_numpy(found)})


def _export(model: SentenceTransformer | CrossEncoder, kind: str, path: Path) -> None:
    names = [name for name in _INPUTS if name in model.tokenizer.model_input_names]
    graph = _Graph(model[0].model, names, kind_called(kind).onnx_output).eval()
    # Two rows of different length, so that neither axis is taken for a constant.
    texts = ["富士山は日本の最高峰である。", "山"]
    features = model.tokenizer(texts, padding=True, return_tensors="pt")
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with torch.inference_mode():
        torch.onnx.export(
            graph,
            tuple(features[name] for name in names),
            str(path),
            input_names=names,
            output_names=[kind_called(kind).onnx_output],
            dynamic_shapes=(tuple(axes for _ in names),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _quantize(graph: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(graph)
    # The quantiser transposes weights and would then find the shapes that were inferred before.
    del model.graph.value_info[:]
    quantize_dynamic(model, target, weight_type=QuantType.QInt8)


def _require_packages() -> None:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise RecipeError(f"ONNX needs {', '.join(missing)}. Run: pip install 'ruri-kedro[onnx]'")
