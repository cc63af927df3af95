"""torchvision loads, with or without its compiled operators."""

from __future__ import annotations

import pytest
import torch

from dlrun.data import torchvision_import
from dlrun.data.torchvision_import import import_torchvision


def test_torchvision_loads_here_and_only_once() -> None:
    package = import_torchvision()
    assert package is import_torchvision()
    assert "resnet18" in package.models.list_models()
    assert hasattr(torch.ops.torchvision, "nms")


def test_another_failure_of_its_import_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("this installation is broken")

    monkeypatch.setattr(torchvision_import, "_imported", broken)
    with pytest.raises(RuntimeError, match="broken"):
        import_torchvision()
