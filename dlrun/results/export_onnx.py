"""ONNX: the graph of an exported model as one file, which onnxruntime and others run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from dlrun.data.trees import Tree, named_leaves
from dlrun.errors import UserError
from dlrun.results.export_description import as_text
from dlrun.results.export_graph import BATCH, silence

OPSET = 18
_OPERATION = re.compile(r"OpOverload\(op='([\w.]+)'")  # of PyTorch, in the messages of torch.onnx
_LONGEST = 200  # characters of a message
_MOST_BYTES = 2**31 - 2**20  # protobuf, in which ONNX is written, has files below 2 GiB


def refuse_missing() -> None:
    """Raise UserError unless the packages that write and run ONNX are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        what = f"an ONNX file needs onnx, onnxscript and onnxruntime: {error}"
        fix = "pip install 'dlrun[onnx]', or write --format torch, which needs no other package"
        raise UserError(what, fix=fix) from None


def content(program: ExportedProgram, description: Mapping[str, Any]) -> bytes:
    """The bytes of an ONNX file of a graph; each entry of the description is one of its `metadata_props`.

    Raises UserError if ONNX has no form of an operation, or if the file would be too large.
    """
    size = sum(weights.nbytes for weights in program.state_dict.values())
    if size > _MOST_BYTES:
        raise UserError("an ONNX file holds at most 2 GiB", fix="write --format torch")
    inputs, outputs = ([own["name"] for own in description[key]] for key in ("inputs", "outputs"))
    try:
        with silence():
            found = torch.onnx.export(
                program,
                dynamo=True,
                input_names=inputs,
                output_names=outputs,
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # torch.onnx raises errors of many kinds
        reason = _reason(error)
        if operation := _OPERATION.search(reason):
            reason = f"it uses {operation[1]}, of which ONNX has no form"
        what = f"the model cannot be written as ONNX: {reason}"
        raise UserError(what, fix="write --format torch") from error
    assert found is not None, "a program is given, and no file to write"
    proto = found.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    for key, entry in description.items():
        pair = proto.metadata_props.add()
        pair.key, pair.value = key, as_text(entry)
    written: bytes = proto.SerializeToString()
    return written


def answers_of(path: Path, pieces: Sequence[Tree]) -> list[dict[str, Tensor]]:
    """The answers that onnxruntime gives with a file, on the CPU, for each of some inputs.

    Raises UserError if it cannot run the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        given = [input.name for input in session.get_inputs()]
        found = []
        for piece in pieces:
            arrays = [own.numpy() for _, own in named_leaves(piece, "")]
            answers = session.run(names, dict(zip(given, arrays, strict=True)))
            found.append({name: torch.from_numpy(own) for name, own in zip(names, answers, strict=True)})
    except Exception as error:  # onnxruntime has a class of its own for each kind
        what = f"onnxruntime cannot run the file: {_reason(error)}"
        raise UserError(what, fix="write --format torch") from error
    return found


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).splitlines()), type(error).__name__)[:_LONGEST]
