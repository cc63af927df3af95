"""ThreeNet by hand, as a careful person writes it: tensors, a fused optimizer, no waiting inside an epoch."""

import torch
from torch.nn.functional import cross_entropy

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, RATE, images, model

words = asked()
if words.epochs:
    inputs, targets = (tensor.to(words.device) for tensor in images(words.data, "train"))
    test_inputs, test_targets = (tensor.to(words.device) for tensor in images(words.data, "t10k"))
    network = model().to(words.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, fused=True)
epochs = Epochs()
for _ in range(words.epochs):
    loss_sum = torch.zeros((), device=words.device)
    correct = torch.zeros((), device=words.device, dtype=torch.long)
    for indices in torch.randperm(len(inputs), device=words.device).split(BATCH):
        labels = targets.index_select(0, indices)
        outputs = network(inputs.index_select(0, indices))
        loss = cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach() * len(indices)
        correct += (outputs.detach().argmax(1) == labels).sum()
    train_loss, train_accuracy = loss_sum.item() / len(inputs), correct.item() / len(inputs)
    epochs.trained()
    with torch.no_grad():
        outputs = network(test_inputs)
        test_loss = cross_entropy(outputs, test_targets).item()
        test_accuracy = (outputs.argmax(1) == test_targets).sum().item() / len(test_inputs)
    epochs.evaluated(train_loss, test_accuracy)
epochs.report()
