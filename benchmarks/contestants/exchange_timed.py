"""A step of a model in several processes: gradients exchanged as dlrun does it, and by DDP.

Started by torchrun. Both train copies of the same model on the same examples, step by step in turn; beside
them the bare all-reduce of as many numbers is timed. The first process reports seconds per step.
"""

import argparse
import json
from statistics import median
from time import perf_counter

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from benchmarks.contestants import _threenet
from dlrun.data.torchvision_import import import_torchvision
from dlrun.training import fast_paths
from dlrun.training.world import World

parser = argparse.ArgumentParser()
parser.add_argument("--model", choices=("threenet", "resnet18"), required=True)
parser.add_argument("--steps", type=int, required=True)
words = parser.parse_args()
torch.set_num_threads(1)
fast_paths.keep_freed_memory()
dist.init_process_group("gloo")
world = World(dist.get_rank(), dist.get_world_size())


def made() -> nn.Module:
    """The model, the same in each process."""
    torch.manual_seed(0)
    if words.model == "threenet":
        return _threenet.model()
    import_torchvision()
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


threenet = words.model == "threenet"
inputs = torch.randn(_threenet.BATCH // world.size, 784) if threenet else torch.randn(8, 3, 64, 64)
targets = torch.randint(10, (len(inputs),))
ours, theirs = made(), DistributedDataParallel(made(), forward_sync_buffers=False)
numbers = sum(parameter.numel() for parameter in ours.parameters())
flat = torch.zeros(numbers)


def step(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None
    cross_entropy(model(inputs), targets).backward()


def gradients_exchanged() -> None:
    step(ours)
    world.add_up(list(ours.parameters()))


def by_ddp() -> None:
    step(theirs)


def alone() -> None:
    step(ours)


def bare() -> None:
    dist.all_reduce(flat)


ways = {"gradients": gradients_exchanged, "ddp": by_ddp, "alone": alone, "all_reduce": bare}
seconds: dict[str, list[float]] = {name: [] for name in ways}
for number in range(words.steps + 5):
    for name, way in ways.items():
        dist.barrier()
        began = perf_counter()
        way()
        if number >= 5:
            seconds[name].append(perf_counter() - began)
if not world.rank:
    print(json.dumps({"numbers": numbers} | {name: median(each) for name, each in seconds.items()}))
dist.barrier()  # a process that ends first may abort the other, which still holds DDP's threads
dist.destroy_process_group()
