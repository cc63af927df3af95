"""ThreeNet in Lightning, with a progress bar and a log as it comes; batches gathered, or by a DataLoader."""

import logging
import os
import warnings
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, RATE, InMemory, images, model
from dlrun.data.torchvision_import import import_torchvision

import_torchvision()  # which Lightning imports as it comes: on a processor alone that fails
import lightning  # noqa: E402

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
words = asked()
several = int(os.environ.get("WORLD_SIZE", "0"))  # started by torchrun
part = (int(os.environ["RANK"]), several) if several else (0, 1)
epochs = Epochs()


class ThreeNet(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.network = model()

    def training_step(self, batch: Any, index: int) -> Any:
        inputs, targets = batch
        outputs = self.network(inputs)
        loss = cross_entropy(outputs, targets)
        self.loss_sum += loss.detach() * len(targets)
        self.correct += (outputs.detach().argmax(1) == targets).sum()
        return loss

    def on_validation_start(self) -> None:
        epochs.trained()

    def validation_step(self, batch: Any, index: int) -> None:
        inputs, targets = batch
        self.test_correct += (self.network(inputs).argmax(1) == targets).sum()

    def on_train_epoch_start(self) -> None:
        self.loss_sum, self.correct, self.test_correct = torch.zeros(()), torch.zeros(()), torch.zeros(())

    def on_train_epoch_end(self) -> None:  # after the validation
        figures = {"loss": self.loss_sum / 60_000, "accuracy": self.correct / 60_000}
        self.log_dict(figures, prog_bar=True)
        epochs.evaluated(float(figures["loss"]), float(self.test_correct) / 10_000)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=RATE, fused=True)


trainer = lightning.Trainer(
    max_epochs=words.epochs,
    accelerator="cpu",
    devices=several or 1,
    strategy="ddp" if several else "auto",
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
    default_root_dir=os.devnull,
)
training, testing = (images(words.data, split) for split in ("train", "t10k"))
if words.default_loaders:
    loaders: list[Any] = [
        DataLoader(TensorDataset(*training), BATCH, shuffle=True),
        DataLoader(TensorDataset(*testing), 1024),
    ]
else:
    loaders = [InMemory(*training, BATCH, shuffled=True, part=part), InMemory(*testing, 1024, shuffled=False)]
trainer.fit(ThreeNet(), *loaders)
if not part[0]:
    epochs.report()
