"""ThreeNet in Keras on PyTorch, from arrays in memory."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # read when keras is imported

from typing import Any

import keras

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, RATE, images, model

words = asked()
epochs = Epochs()


class Noted(keras.callbacks.Callback):  # type: ignore[misc]
    """Takes down the end of each epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        epochs.evaluated(float(logs["loss"]), float(logs["val_accuracy"]))


layers = keras.layers
network = keras.Sequential(
    [
        layers.Input((784,)),
        layers.Dense(200, activation="relu"),
        layers.Dense(60, activation="relu"),
        layers.Dense(10),
    ]
)
network.set_weights(
    [w.detach().numpy().T if w.ndim == 2 else w.detach().numpy() for w in model().parameters()]
)
network.compile(
    optimizer=keras.optimizers.SGD(RATE),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
inputs, targets = (tensor.numpy() for tensor in images(words.data, "train"))
test = tuple(tensor.numpy() for tensor in images(words.data, "t10k"))
network.fit(
    inputs,
    targets,
    batch_size=BATCH,
    epochs=words.epochs,
    validation_data=test,
    verbose=2,
    callbacks=[Noted()],
)
epochs.report()
