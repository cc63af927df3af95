"""Small JPEGs the usual way: torchvision's ImageFolder and transforms, a DataLoader with two workers."""

import time

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.contestants._report import asked, say
from benchmarks.jpegs import CLASSES, RATE, SIDE, WORKERS
from dlrun.architecture.linear import linear
from dlrun.data.torchvision_import import import_torchvision

words = asked()
datasets, transforms = import_torchvision().datasets, import_torchvision().transforms
steps = [
    transforms.Resize(SIDE),
    transforms.CenterCrop(SIDE),
    transforms.ToTensor(),
    transforms.Normalize((0.5,) * 3, (0.5,) * 3),
]
dataset = datasets.ImageFolder(str(words.data), transforms.Compose(steps))
loader = DataLoader(dataset, words.batch, shuffle=True, num_workers=WORKERS, persistent_workers=True)
torch.manual_seed(0)
network = linear((3, SIDE, SIDE), CLASSES, flatten=True)
optimizer = torch.optim.SGD(network.parameters(), lr=RATE, fused=True)
seconds, losses, accuracies = [], [], []
for _ in range(words.epochs):
    started = time.perf_counter()
    loss_sums, right = [], []
    for images, labels in loader:
        outputs = network(images)
        loss = cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sums.append(loss.detach() * len(labels))
        right.append((outputs.detach().argmax(1) == labels).sum())
    losses.append(torch.stack(loss_sums).sum().item() / len(dataset))
    accuracies.append(torch.stack(right).sum().item() / len(dataset))
    seconds.append(time.perf_counter() - started)
say(epoch=seconds[0], losses=losses, accuracies=accuracies)
