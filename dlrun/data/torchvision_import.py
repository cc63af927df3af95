"""Import torchvision even if its compiled operators do not load."""

from __future__ import annotations

from types import ModuleType

import torch

_library: torch.library.Library | None = None


def import_torchvision() -> ModuleType:
    """Import and return the torchvision package.

    Its wheels are built for CUDA versions of PyTorch. With a CPU version the compiled operators do not load
    and the import fails, because their schemas are missing. dlrun uses only its Python code, which works
    once the schemas are declared here.
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
