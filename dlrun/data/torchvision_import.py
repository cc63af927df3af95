"""torchvision, also where its compiled operators do not load."""

from __future__ import annotations

from types import ModuleType

import torch

_library: torch.library.Library | None = None


def torchvision() -> ModuleType:
    """The torchvision package.

    Its wheels are made for CUDA builds of PyTorch. On a CPU build the compiled operators do not load
    and the import fails for want of a schema; what dlrun uses of it is plain Python, and works once
    the schemas are declared.
    """
    global _library
    try:
        return _imported()
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    _library = torch.library.Library("torchvision", "DEF")  # lives as long as the process
    for operator in ("nms", "qnms"):
        _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return _imported()


def _imported() -> ModuleType:
    import torchvision

    return torchvision  # type: ignore[no-any-return]
