"""A step of training as one CUDA graph: recorded once, then repeated without Python between its kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from operator import is_

import torch
from torch import Tensor

Update = Callable[..., None]  # one step of training, on one batch
Shapes = tuple[torch.Size, ...]


class Replayed:
    """`update`, recorded for each shape of batch that it is given and repeated from then on.

    The first steps of every shape run as they are, which lets the libraries and the optimizer set themselves
    up. What is recorded are the same kernels, so the bits are the same; what a step does on the processor,
    such as counting its calls, is not repeated. `prepare` is called before, and `generators` are those that
    the step draws from beside the device's own. Where either raises RuntimeError, `refused` is told why,
    once, and from then on every step runs as it is.
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
        self._before: tuple[Tensor, ...] = ()
        self._works = True

    def __call__(self, *batch: Tensor) -> None:
        shapes = tuple(tensor.shape for tensor in batch)
        if self._works and self._done[shapes] == self.WARM_UP:
            self._record(shapes, batch)
        self._done[shapes] += 1
        self._before = batch
        if shapes not in self._recorded:
            on_own_stream(self._update, *batch)
            return
        repeat, inputs = self._recorded[shapes]
        for ours, given in zip(inputs, batch, strict=True):
            if ours is not given:
                ours.copy_(given)
        repeat()

    def _record(self, shapes: Shapes, batch: tuple[Tensor, ...]) -> None:
        # A full batch is the same tensors each time, and may be large: it is read where it is.
        same = len(batch) == len(self._before) and all(map(is_, batch, self._before))
        inputs = batch if same else tuple(tensor.clone() for tensor in batch)
        try:
            self._prepare()
            self._recorded[shapes] = record(self._update, inputs, self._generators), inputs
        except RuntimeError as error:
            # What broke the recording comes first; that it is broken is raised on the way out.
            self._refused(str(error.__context__ or error).splitlines()[0][:150])
            self._works = False
            self._recorded.clear()


def on_own_stream(update: Update, *batch: Tensor) -> None:
    """One step on a stream of its own, where what it leaves behind is not tied to the default stream."""
    ours = _stream()
    ours.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(ours):
        update(*batch)
    torch.cuda.current_stream().wait_stream(ours)


@cache
def _stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()


def record(
    update: Update, inputs: Sequence[Tensor], generators: Sequence[torch.Generator]
) -> Callable[[], None]:
    """One step on `inputs` as a graph; calling what this gives repeats it on what they hold then.

    Raises RuntimeError where the step does what no graph can hold, such as waiting for a figure.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    before = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, stream=_stream()):
            update(*inputs)
    finally:
        torch.cuda.set_stream(before)  # which a recording that breaks leaves as it is
    repeat: Callable[[], None] = graph.replay
    return repeat
