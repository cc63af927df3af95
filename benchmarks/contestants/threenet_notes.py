"""ThreeNet the usual way: one image after the other through PIL and transforms, collected by a DataLoader."""

import warnings

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, RATE
from dlrun.data.torchvision_import import import_torchvision

warnings.simplefilter("ignore")
words = asked()
datasets, transforms = import_torchvision().datasets, import_torchvision().transforms


class ThreeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 200), nn.Linear(200, 60), nn.Linear(60, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.fc2(torch.relu(self.fc1(inputs))))
        return torch.log_softmax(self.fc3(hidden), 1)


def loader(train: bool) -> DataLoader[tuple[Tensor, Tensor]]:
    steps = [transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    dataset = datasets.MNIST(str(words.data), train=train, transform=transforms.Compose(steps))
    return DataLoader(dataset, batch_size=BATCH, shuffle=train)


training, test = loader(True), loader(False)
network, criterion = ThreeNet(), nn.NLLLoss()
optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
epochs = Epochs()
for _ in range(words.epochs):
    loss_sum = 0.0
    for images, labels in training:
        loss = criterion(network(images.reshape(len(images), -1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
    epochs.trained()
    correct = 0
    with torch.no_grad():
        for images, labels in test:
            outputs = network(images.reshape(len(images), -1))
            correct += int((outputs.argmax(1) == labels).sum())
    epochs.evaluated(loss_sum / 60_000, correct / 10_000)
epochs.report()
