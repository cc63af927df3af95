"""ThreeNet in skorch, with what it measures by itself; batches gathered in memory, or by its own loaders."""

from typing import Any

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, RATE, InMemory, images, model

words = asked()
epochs = Epochs()


class Noted(Callback):  # type: ignore[misc]
    """Takes down the end of each epoch."""

    def on_epoch_end(self, net: Any, **more: Any) -> None:
        epochs.evaluated(net.history[-1, "train_loss"], float(net.history[-1, "valid_acc"]))


def shuffled(dataset: Any, batch_size: int, shuffle: bool = True) -> InMemory:
    return InMemory(dataset.X, dataset.y, batch_size, shuffled=True)


def in_order(dataset: Any, batch_size: int) -> InMemory:
    return InMemory(dataset.X, dataset.y, batch_size, shuffled=False)


gathered = {"iterator_train": shuffled, "iterator_valid": in_order}
network = NeuralNetClassifier(
    model(),
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.SGD,
    optimizer__fused=True,
    lr=RATE,
    max_epochs=words.epochs,
    batch_size=BATCH,
    iterator_train__shuffle=True,
    iterator_valid__batch_size=1024,
    train_split=predefined_split(Dataset(*images(words.data, "t10k"))),
    classes=list(range(10)),
    callbacks=[Noted()],
    **({} if words.default_loaders else gathered),
)
network.fit(*images(words.data, "train"))
epochs.report()
