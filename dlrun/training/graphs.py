"""CUDA graphs: a training step is recorded once, then replayed without Python between its kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from operator import is_

import torch
from torch import Tensor

from dlrun.data.trees import Tree, leaves, mapped

Update = Callable[..., None]  # one optimizer step, on one batch
Shapes = tuple[torch.Size, ...]


class Replayed:
    """`update` as a CUDA graph for each shape of batch: recorded once, then replayed.

    The first WARM_UP steps of every shape run without a graph, so that libraries and the optimizer can
    initialise. A replay launches the same kernels, so the bits are the same; work on the CPU, such as
    counting calls, is not repeated. `prepare` is called before a recording; `generators` are the random
    generators that the step draws from beside the device's own. If the recording raises RuntimeError,
    `refused` is called with the reason, once, and every later step runs without a graph.
    """

    WARM_UP = 3  # steps

    def __init__(
        self,
        update: Update,
        prepare: Callable[[], None],
        generators: Sequence[torch.Generator],
        refused: Callable[[str], None],
    ) -> None:
        self._update, self._prepare = update, prepare
        self._generators, self._refused = generators, refused
        self._done: Counter[Shapes] = Counter()
        self._recorded: dict[Shapes, tuple[Callable[[], None], Sequence[Tensor]]] = {}
        self._before: Sequence[Tensor] = ()
        self._works = True

    def __call__(self, *batch: Tree) -> None:
        tensors = [tensor for tree in batch for tensor in leaves(tree)]
        shapes = tuple(tensor.shape for tensor in tensors)
        if self._works and self._done[shapes] == self.WARM_UP:
            self._record(shapes, batch)
        self._done[shapes] += 1
        self._before = tensors
        if shapes not in self._recorded:
            on_own_stream(self._update, *batch)
            return
        repeat, inputs = self._recorded[shapes]
        for ours, given in zip(inputs, tensors, strict=True):
            if ours is not given:
                ours.copy_(given)
        repeat()

    def _record(self, shapes: Shapes, batch: tuple[Tree, ...]) -> None:
        # A full batch is the same tensors at each step, and may be large: the graph reads it without a copy.
        given = [tensor for tree in batch for tensor in leaves(tree)]
        same = len(given) == len(self._before) and all(map(is_, given, self._before))
        trees = batch if same else tuple(mapped(Tensor.clone, tree) for tree in batch)
        inputs = [tensor for tree in trees for tensor in leaves(tree)]
        try:
            self._prepare()
            self._recorded[shapes] = record(self._update, trees, self._generators), inputs
        except RuntimeError as error:
            # The context is the cause; the error itself only says that the recording is broken.
            self._refused(str(error.__context__ or error).splitlines()[0][:150])
            self._works = False
            self._recorded.clear()


def on_own_stream(update: Update, *batch: Tree) -> None:
    """Run one step on a side stream, so that its allocations are not tied to the default stream."""
    ours = _stream()
    ours.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(ours):
        update(*batch)
    torch.cuda.current_stream().wait_stream(ours)


@cache
def _stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()


def record(
    update: Update, inputs: Sequence[Tree], generators: Sequence[torch.Generator]
) -> Callable[[], None]:
    """Record one step on `inputs` as a CUDA graph; the function returned replays it on their contents.

    Raises RuntimeError if the step does what a graph cannot hold, such as waiting for a figure.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    before = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, stream=_stream()):
            update(*inputs)
    finally:
        torch.cuda.set_stream(before)  # a failed recording does not restore it
    repeat: Callable[[], None] = graph.replay
    return repeat
