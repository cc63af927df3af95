"""ThreeNet by hand, as a careful person writes it: tensors, a fused optimizer, sums after the epoch."""

import torch
from torch.nn.functional import cross_entropy

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, RATE, images, model

words = asked()
if words.epochs:
    inputs, targets = (tensor.to(words.device) for tensor in images(words.data, "train"))
    test_inputs, test_targets = (tensor.to(words.device) for tensor in images(words.data, "t10k"))
    network = model(inplace=True).to(words.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, fused=True)
epochs = Epochs()
for _ in range(words.epochs):
    losses, right = [], []
    order = torch.randperm(len(inputs), device=words.device)
    batches = zip(order.split(BATCH), targets.index_select(0, order).split(BATCH), strict=True)
    for indices, labels in batches:
        outputs = network(inputs.index_select(0, indices))
        loss = cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach() * len(labels))
        right.append(outputs.detach().argmax(1) == labels)
    train_loss = torch.stack(losses).sum().item() / len(inputs)
    train_accuracy = torch.cat(right).sum().item() / len(inputs)
    epochs.trained()
    with torch.no_grad():
        outputs = network(test_inputs)
        test_loss = cross_entropy(outputs, test_targets).item()
        test_accuracy = (outputs.argmax(1) == test_targets).sum().item() / len(test_inputs)
    epochs.evaluated(train_loss, test_accuracy)
epochs.report()
