"""ThreeNet in several processes as a careful person writes it: DistributedDataParallel, by torchrun."""

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from benchmarks.contestants._report import Epochs, asked
from benchmarks.contestants._threenet import BATCH, RATE, images, model

words = asked()
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
inputs, targets = images(words.data, "train")
test_inputs, test_targets = images(words.data, "t10k")
network = DistributedDataParallel(model(inplace=True))
optimizer = torch.optim.SGD(network.parameters(), lr=RATE, fused=True)
epochs = Epochs()
for epoch in range(words.epochs):
    losses = []
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(epoch))
    for batch in order.split(BATCH):
        indices = batch.chunk(size)[rank]
        labels = targets.index_select(0, indices)
        loss = cross_entropy(network(inputs.index_select(0, indices)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach() * len(labels))
    total = torch.stack(losses).sum()
    dist.all_reduce(total)
    epochs.trained()
    with torch.no_grad():
        right = (network.module(test_inputs).argmax(1) == test_targets).sum().item()
    epochs.evaluated(total.item() / len(inputs), right / len(test_inputs))
if not rank:
    epochs.report()
dist.destroy_process_group()
