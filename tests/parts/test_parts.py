"""The contract of every folder, held by every part in it: a new part is tested unasked."""

from __future__ import annotations

import inspect
import math
import random
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.animation import Animation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pages import parts_of
from PIL import Image
from small_runs import differences, mostly_slow, own_parts, parts_in, planned, trained
from torch import Tensor, nn

from dlrun.blocks.tasks import Task
from dlrun.config.keys import Choice
from dlrun.config.mistakes import ConfigError
from dlrun.config.option_types import describe
from dlrun.config.registry import COMMON, FOLDERS, REQUIRED, Part
from dlrun.data.examples import Data, Examples
from dlrun.data.torchvision_import import import_torchvision
from dlrun.errors import UserError
from dlrun.training.losses import loss_part
from dlrun.training.named_parts import metric
from dlrun.training.opening import open_checkpoint
from dlrun.training.optimizers import needs_closure
from dlrun.training.trained import Trained

# Those of CONTRIBUTING.md are held to the same; the folder lives as long as these tests.
FOLDER = TemporaryDirectory()
PARTS = parts_in(Path(FOLDER.name) / "pages", parts_of("CONTRIBUTING.md"))
OWN = own_parts(Path(FOLDER.name) / "own")
EVERY = [(kind, name) for kind in FOLDERS for name in PARTS.names(kind)]
CLASSES, N = 7, 12
SHAPES: list[tuple[int, ...]] = [(5,), (1, 12, 12), (3, 9, 13)]
REQUIRED_OPTIONS: dict[str, Any] = {
    "lr": 0.05,
    "model": "shufflenet_v2_x0_5",
    "runs": [],
    "path": "table.csv",
    "target": "y",
    "text": "a",
    "window": 2,
    "teacher": "large-001",
}


def named(kind: str) -> Any:
    return pytest.mark.parametrize("name", PARTS.names(kind))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def defaults(kind: str, name: str) -> dict[str, Any]:
    """The options of a part as a config that names nothing else would have them."""
    options = PARTS.part(kind, name).options.values()
    required = REQUIRED_OPTIONS | ({"model": "test_efficientnet"} if name == "timm" else {})
    return {o.name: required[o.name] if o.default is REQUIRED else o.default for o in options}


def data_of(task: str, classes: int = CLASSES) -> Data:
    names = () if task == "regression" else tuple(map(str, range(classes)))
    return Data(task, (5,), dict[str, Examples], names, targets=3)  # type: ignore[arg-type]


def task_of(part: Part) -> Task:
    """The task of a metric, with its usual loss."""
    kind = tasks_for(part)[0]
    loss = {"regression": "mse", "multilabel": "bce"}.get(kind, "cross_entropy")
    data = data_of(kind)
    made: Task = PARTS.find("task", kind)(data, loss_part(PARTS, Choice(loss), data))
    return made


def tasks_for(part: Part) -> tuple[str, ...]:
    """The tasks that a part is for."""
    stated = part.constants.get("task", "classification")
    return (stated,) if isinstance(stated, str) else stated


OF_COUNTS, OF_DENSITIES = ("poisson",), ("gaussian_nll",)  # losses whose targets, or values, are others


def beside(loss: str, name: str, default: Any) -> Any:
    """A function beside a loss, with those of the loss's default options that it takes."""
    function = getattr(PARTS.module("loss", loss), name, default)
    taken = inspect.signature(function).parameters
    return partial(function, **{key: value for key, value in defaults("loss", loss).items() if key in taken})


def judge(name: str) -> Any:
    """A loss with its default options, of the outputs (n, k) of a model before its head."""
    loss, head = PARTS.find("loss", name), beside(name, "head", lambda outputs: outputs)
    options, teacher = taken("loss", name), torch.zeros(())

    def judged(outputs: Tensor, targets: Tensor) -> Any:
        return loss(head(outputs), targets, *taught(name, outputs, teacher), **options)

    return judged


def taken(kind: str, name: str) -> dict[str, Any]:
    """The default options that the function of a part takes."""
    return PARTS.part(kind, name).taken(defaults(kind, name))


def taught(name: str, outputs: Tensor, logits: Tensor) -> list[Tensor]:
    """The teacher with these logits, (classes,), that a loss is given; nothing for a loss without one."""
    has_teacher = "teacher" in PARTS.part("loss", name).takes
    return [logits.expand_as(outputs).log_softmax(-1).unsqueeze(0)] if has_teacher else []


def outputs_and_targets(part: Part, task: str = "", classes: int = CLASSES) -> tuple[Tensor, Tensor, int]:
    """Random outputs that a model for this loss or metric could have, targets, and how many outputs."""
    stream = torch.Generator().manual_seed(3)
    task = task or tasks_for(part)[0]
    data = data_of(task, classes)
    k = data.targets if task == "regression" else classes
    if part.kind == "loss":
        k = beside(part.name, "outputs", lambda _: k)(data)
    outputs = torch.randn(N, k, generator=stream)
    if part.name == "nll":
        outputs = outputs.log_softmax(1)
    if task == "regression":
        d = data.targets if part.kind == "loss" else k
        targets = torch.randn(N, d, generator=stream)
        return outputs, targets.round().abs() if part.name in OF_COUNTS else targets, k
    if task == "multilabel":
        return outputs, (torch.rand(N, k, generator=stream) < 0.4).float(), k
    return outputs, torch.randint(classes, (N,), generator=stream), k


# ------------------------------------------------------------------------ every part


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_a_part_says_what_it_is_and_types_its_options(kind: str, name: str) -> None:
    part = PARTS.part(kind, name)
    assert part.summary.strip().endswith((".", ")")), "the first line says what it gives"
    assert len(part.summary) > 10
    for option in part.options.values():
        assert describe(option.type)
    function = PARTS.find(kind, name)
    signature = inspect.signature(function)
    keyword_only = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert keyword_only == [option for option in part.options if option not in part.takes]
    assert all(p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) for p in signature.parameters.values())
    positional = len(signature.parameters) - len(keyword_only)
    assert positional == {
        "dataset": 1 + ("known" in part.takes) + ("fold" in part.takes),
        "architecture": 2 + ("data" in part.takes),
        "loss": 2 + ("teacher" in part.takes),
        "metrics": 2 + ("data" in part.takes) + ("weights" in part.takes),
        "augmentations": 2 + len({"targets", "masks", "size"} & {*part.takes}),
        "task": 2,
        "schedule": 1 + ("epochs" in part.takes) + ("figures" in part.takes),
        "average": 1 + ("epochs" in part.takes),
    }.get(kind, 1)
    assert "known" not in part.takes or (kind == "dataset" and part.takes[1:] == ("known", "fold"))


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_the_docstring_of_a_part_says_what_each_option_means(kind: str, name: str) -> None:
    part = PARTS.part(kind, name)
    assert list(part.about.meanings) == list(part.options), "an entry for each option, in their order"
    for option in part.options.values():
        says_less = f"a an the of in {option.name} {option.name.replace('_', ' ')} {describe(option.type)}"
        assert words(option.help) - words(says_less), f"{option.name}: {option.help!r} repeats name or type"
        assert option.help.endswith("."), option.help
    twice = [name for name, said in part.about.meanings.items() if said in " ".join(part.about.paragraphs)]
    assert twice == []


def test_what_every_part_of_a_kind_takes_has_a_meaning() -> None:
    options = [option for common in COMMON.values() for option in common.values()]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_the_default_of_an_option_is_of_its_type(kind: str, name: str) -> None:
    """Otherwise the resolved config of a run could not be run again."""
    from pydantic import ConfigDict, TypeAdapter

    for option in PARTS.part(kind, name).options.values():
        if option.default is not REQUIRED:
            adapter: Any = TypeAdapter(option.type, config=ConfigDict(strict=True, allow_inf_nan=False))
            assert adapter.validate_python(option.default) == option.default


@named("plots")
def test_no_option_asks_for_a_picture_without_end(name: str) -> None:
    for option in PARTS.part("plots", name).options.values():
        words = describe(option.type)
        # An image that is not there is refused; the ends of an axis take no room.
        assert "number" not in words or "<" in words or option.name in ("image", "limits"), option.name


# ------------------------------------------------------------------------ losses and metrics


TASKS = [("classification", CLASSES), ("classification", 2), ("regression", 0)]
LOSSES = [
    (name, task, classes)
    for name in PARTS.names("loss")
    for task, classes in TASKS
    if "task" not in PARTS.part("loss", name).constants or task in tasks_for(PARTS.part("loss", name))
]
NO_SCORING_RULES = ("focal", "poly", "sigmoid_focal")  # smallest at other probabilities than the true ones
OVER_CLASSES = [(name, classes) for name, task, classes in LOSSES if task == "classification"]


@pytest.mark.parametrize(("name", "task", "classes"), LOSSES)
def test_a_loss_is_one_number_for_each_example_alone(name: str, task: str, classes: int) -> None:
    outputs, targets, _ = outputs_and_targets(PARTS.part("loss", name), task, classes)
    loss = judge(name)
    values = loss(outputs, targets)
    assert values.shape == (N,)
    assert torch.isfinite(values).all()
    assert (values >= 0).all() or name in OF_DENSITIES
    order = torch.randperm(N)
    torch.testing.assert_close(loss(outputs[order], targets[order]), values[order])
    alone = torch.cat([loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(N)])
    torch.testing.assert_close(alone, values)


@pytest.mark.parametrize(("name", "task", "classes"), LOSSES)
def test_the_gradient_of_a_loss_goes_down(name: str, task: str, classes: int) -> None:
    outputs, targets, _ = outputs_and_targets(PARTS.part("loss", name), task, classes)
    loss = judge(name)
    outputs.requires_grad_()
    before = loss(outputs, targets).mean()
    before.backward()
    assert outputs.grad is not None
    assert outputs.grad.any(1).all(), "every example has its part in it"
    after = loss(outputs.detach() - 0.01 * outputs.grad, targets).mean()
    assert after < before


@pytest.mark.parametrize(("name", "classes"), OVER_CLASSES)
@pytest.mark.parametrize("shift", [0.0, -5.0, -200.0])
def test_the_probabilities_of_a_loss_over_classes_add_up_to_1(name: str, classes: int, shift: float) -> None:
    """Also where every output is far below 0; and the class of the largest is the most probable one."""
    outputs, targets, k = outputs_and_targets(PARTS.part("loss", name), "classification", classes)
    outputs = outputs if name == "nll" else outputs + shift
    module = PARTS.module("loss", name)
    shares = getattr(module, "probabilities", lambda o: o.softmax(-1))(outputs.expand(2, N, k))
    assert shares.shape == (2, N, classes)
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, N))
    assert (shares >= 0).all()
    right = PARTS.find("metrics", "accuracy")(outputs, targets)
    assert torch.equal(shares[0].argmax(-1) == targets, right), "accuracy and confusion must agree"


@pytest.mark.parametrize(("name", "classes"), OVER_CLASSES)
def test_no_constant_is_better_than_the_one_that_a_loss_names(name: str, classes: int) -> None:
    """For class shares, and its probabilities are those shares."""
    module, loss = PARTS.module("loss", name), PARTS.find("loss", name)
    shares = torch.tensor([0.7, 0.3]) if classes == 2 else torch.arange(1, classes + 1) / 28
    targets = torch.arange(classes).repeat_interleave((shares * 280).round().long())
    best = getattr(module, "constant", torch.log)(shares)
    probabilities = getattr(module, "probabilities", lambda o: o.softmax(-1))

    def mean(outputs: Tensor) -> float:
        if name == "nll":
            outputs = outputs.log_softmax(-1)
        outputs = outputs.expand(len(targets), -1)
        given = taught(name, outputs, shares.log())
        return float(loss(outputs, targets, *given, **taken("loss", name)).double().mean())

    torch.testing.assert_close(probabilities(best), shares)
    if name in NO_SCORING_RULES:
        return
    stream = torch.Generator().manual_seed(4)
    for _ in range(20):
        assert mean(best) < mean(best + 0.3 * torch.randn(best.shape, generator=stream)) + 1e-7


@pytest.mark.parametrize("name", sorted({name for name, _ in OVER_CLASSES}))
def test_a_loss_over_classes_refuses_a_single_class(name: str) -> None:
    with pytest.raises(UserError):
        PARTS.module("loss", name).outputs(data_of("classification", 1))


OF_EXAMPLES = [
    name for name in PARTS.names("metrics") if not PARTS.part("metrics", name).constants.get("whole")
]
POSITIVE = ("mape", "msle")  # metrics of numbers above 0


def figure_of(name: str, outputs: Tensor, targets: Tensor) -> float:
    """The figure of a metric for all examples, with its default options."""
    part = PARTS.part("metrics", name)
    found = metric(PARTS, Choice(name, defaults("metrics", name)), task_of(part))
    figures = found.measure(outputs, targets).double()
    return found.finish([float(figures)] if found.whole else figures.reshape(N, -1).mean(0).tolist())


@named("metrics")
def test_a_metric_is_a_finite_figure_in_any_order_of_the_examples(name: str) -> None:
    part = PARTS.part("metrics", name)
    outputs, targets, _ = outputs_and_targets(part)
    if name in POSITIVE:
        outputs, targets = outputs.abs(), targets.abs()
    order = torch.randperm(N)
    figure = figure_of(name, outputs, targets)
    assert type(figure) is float and math.isfinite(figure)
    assert figure_of(name, outputs[order], targets[order]) == pytest.approx(figure)
    assert part.constants.get("better", "higher") in ("higher", "lower")


@pytest.mark.parametrize("name", OF_EXAMPLES)
def test_a_metric_is_one_or_some_numbers_for_each_example_alone(name: str) -> None:
    part = PARTS.part("metrics", name)
    outputs, targets, _ = outputs_and_targets(part)
    if name in POSITIVE:
        outputs, targets = outputs.abs(), targets.abs()
    measure = partial(PARTS.find("metrics", name), **defaults("metrics", name))
    if "data" in part.takes:
        measure = partial(measure, data=data_of(tasks_for(part)[0]))
    values = measure(outputs, targets)
    assert values.shape[0] == N
    assert values.dim() in (1, 2)
    order = torch.randperm(N)
    again = measure(outputs[order], targets[order])
    torch.testing.assert_close(again.float(), values[order].float())


@named("metrics")
def test_a_metric_is_best_where_the_model_is_right(name: str) -> None:
    part = PARTS.part("metrics", name)
    _, targets, k = outputs_and_targets(part)
    is_label = targets.is_floating_point() and "multilabel" in tasks_for(part)
    right = targets if targets.is_floating_point() else nn.functional.one_hot(targets, k).float()
    if is_label:
        right = 2 * targets - 1
    if {"log_probabilities", "probabilities"} & {*part.takes}:
        right = 50 * right
    wrong = -right
    if name in POSITIVE:
        targets, right, wrong = targets.abs(), right.abs(), right.abs() + 1
    if name == "recall_at_k":
        wrong = 0 * right  # embeddings that coincide
    higher = part.constants.get("better", "higher") == "higher"
    least = 1 if name == "perplexity" else 0
    assert figure_of(name, right, targets) == pytest.approx(1 if higher else least, abs=1e-6)
    assert (figure_of(name, right, targets) > figure_of(name, wrong, targets)) == higher


@pytest.mark.parametrize(
    ("mean", "figure"), [(0.0, 1.0), (2.0, 7.38905609893065), (699.0, math.exp(699)), (710.0, math.inf)]
)
def test_perplexity_is_infinite_only_where_no_float_could_hold_it(mean: float, figure: float) -> None:
    finish = PARTS.module("metrics", "perplexity").finish
    assert finish([mean]) == pytest.approx(figure)
    assert math.isnan(finish([math.nan]))


def test_a_label_that_is_neither_predicted_nor_true_is_left_out_of_f1() -> None:
    f1 = PARTS.module("metrics", "f1")
    said = torch.tensor([[2.0, -1, -1], [1, -2, -3], [-1, 2, -3]])
    true = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]])
    figure = f1.finish(f1.f1(said, true).double().mean(0).tolist(), average="macro")
    assert figure == pytest.approx((2 / 3 + 1) / 2)  # of the first two labels alone


# ------------------------------------------------------------------------ architectures


VOCABULARY = tuple("abcdefghijk")


def inputs_of(shape: tuple[int, ...], places: tuple[int, ...] = (), ids: bool = False) -> Data:
    """A dataset of such inputs."""
    if ids:
        return Data("other", shape, dict, vocabulary=VOCABULARY, places=places, input_dtype=torch.int64)
    return Data("other", shape, dict, places=places)


INPUTS = [
    *map(inputs_of, SHAPES),
    inputs_of((7,), ids=True),
    inputs_of((7,), (7,), ids=True),
    inputs_of((7, 3)),
    inputs_of((7, 3), (7,)),
    inputs_of((1, 20, 18), (20, 18)),
]


def built(name: str, data: Data, seed: int = 0) -> nn.Module:
    """The architecture with its defaults; an image is flattened where it must be."""
    options, outputs = defaults("architecture", name), 4 if name != "autoencoder" else math.prod(data.shape)
    make = PARTS.find("architecture", name)
    given = (data.shape, outputs, *([data] if "data" in PARTS.part("architecture", name).takes else []))
    torch.manual_seed(seed)
    try:
        model = make(*given, **options)
    except UserError as error:
        if "flatten" not in error.fix:
            raise
        torch.manual_seed(seed)
        model = make(*given, **options | {"flatten": True})
    assert isinstance(model, nn.Module)
    return model


def some_inputs(data: Data) -> Tensor:
    """Six examples, not all of them the same."""
    stream = torch.Generator().manual_seed(5)
    if data.has_whole_numbers():
        return torch.randint(len(VOCABULARY), (6, *data.shape), generator=stream)
    return torch.randn(6, *data.shape, generator=stream)


def taken_by(name: str) -> Iterator[Data]:
    """The inputs that an architecture takes: others it refuses in words, or cannot tell apart."""
    knows = "data" in PARTS.part("architecture", name).takes
    for data in INPUTS:
        if not knows and (data.places or data.has_whole_numbers()):
            continue
        try:
            built(name, data)
        except UserError:
            continue
        yield data


@named("architecture")
def test_an_architecture_gives_its_outputs_for_every_example_alone(name: str) -> None:
    if name == "timm":
        import_torchvision()  # without which timm cannot be imported
        pytest.importorskip("timm", reason="needs the package timm")
    every = list(taken_by(name))
    assert every
    for data in every:
        model, inputs = built(name, data).eval(), some_inputs(data)
        outputs = model(inputs)
        assert outputs.shape == (6, *((4, *data.places) if name != "autoencoder" else data.shape))
        assert torch.isfinite(outputs).all()
        torch.testing.assert_close(model(inputs[2:3]), outputs[2:3])


@named("architecture")
def test_an_architecture_is_a_function_of_the_seed(name: str) -> None:
    for data in taken_by(name):
        states = [built(name, data, seed).state_dict() for seed in (1, 1, 2)]
        assert not differences(states[0], states[1])
        assert differences(states[0], states[2])


@named("architecture")
def test_an_architectures_weights_are_float32_and_all_learn(name: str) -> None:
    for data in taken_by(name):
        model = built(name, data)
        model(some_inputs(data)).square().mean().backward()
        assert dict(model.named_parameters())
        for weights, p in model.named_parameters():
            assert p.dtype == torch.float32
            assert p.grad is not None and p.grad.any(), f"{weights} is used by nothing"


@named("architecture")
def test_an_architectures_weights_are_saved_and_loaded_whole(name: str) -> None:
    for data in taken_by(name):
        model, other = (built(name, data, seed).eval() for seed in (1, 2))
        inputs = some_inputs(data)
        assert not torch.equal(model(inputs), other(inputs))
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(inputs), other(inputs))


@named("architecture")
def test_an_architecture_does_not_change_its_inputs(name: str) -> None:
    for data in taken_by(name):
        inputs = some_inputs(data)
        before = inputs.clone()
        built(name, data)(inputs)
        assert torch.equal(inputs, before)


# ------------------------------------------------------------------------ optimizers and schedules


def bowl() -> tuple[list[Tensor], Any]:
    """Parameters and a function of them that is lowest at 0."""
    parameters = [torch.tensor([3.0, -2.0], requires_grad=True), torch.tensor(1.5, requires_grad=True)]
    return parameters, lambda: parameters[0].square().sum() + 2 * parameters[1].square()


def step(optimizer: torch.optim.Optimizer, loss: Any) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        figure = loss()
        figure.backward()
        return figure

    if needs_closure(optimizer):
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()


@named("optimizer")
def test_an_optimizer_goes_downhill_at_the_rate_it_is_given(name: str) -> None:
    parameters, loss = bowl()
    optimizer = PARTS.find("optimizer", name)(parameters, **defaults("optimizer", name))
    assert isinstance(optimizer, torch.optim.Optimizer)
    given = PARTS.part("optimizer", name).options["lr"].default
    assert [group["lr"] for group in optimizer.param_groups] == [0.05 if given is REQUIRED else given]
    before = loss().item()
    for _ in range(300):
        step(optimizer, loss)
    assert loss().item() < 0.5 * before
    stands = [p.detach().clone() for p in parameters]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step(optimizer, loss)
    assert not differences(stands, [p.detach() for p in parameters]), "a rate of 0 moves nothing"


@named("optimizer")
def test_an_optimizers_state_is_all_that_it_remembers(name: str) -> None:
    first, loss = bowl()
    optimizer = PARTS.find("optimizer", name)(first, **defaults("optimizer", name))
    for _ in range(5):
        step(optimizer, loss)
    second, other_loss = bowl()
    other = PARTS.find("optimizer", name)(second, **defaults("optimizer", name))
    with torch.no_grad():
        for p, q in zip(first, second, strict=True):
            q.copy_(p)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    for _ in range(5):
        step(optimizer, loss)
        step(other, other_loss)
    assert not differences([p.detach() for p in first], [q.detach() for q in second])
    assert not differences(optimizer.state_dict()["state"], other.state_dict()["state"])


def scheduled(name: str, **options: Any) -> Any:
    """A schedule of a run of 20 epochs whose monitored figure improves four times, then no more."""
    part = PARTS.part("schedule", name)
    required = {"at": [5, 12]}
    given = {
        o.name: required.get(o.name) if o.default is REQUIRED else o.default for o in part.options.values()
    }
    more = {"epochs": 20} if "epochs" in part.takes else {}
    more |= {"figures": [4.0, 3.0, 2.0, 1.0, *[1.0] * 30]} if "figures" in part.takes else {}
    return partial(PARTS.find("schedule", name), **more, **given | options)


@named("schedule")
def test_a_schedule_is_a_pure_multiplier_of_at_most_1(name: str) -> None:
    schedule = scheduled(name)
    steps = [step / 200 for step in range(201)]
    values = [schedule(progress) for progress in steps]
    assert all(isinstance(value, float) and 0 <= value <= 1 + 1e-9 for value in values)
    assert name == "plateau" or max(values) == pytest.approx(1, abs=0.01)
    assert [schedule(progress) for progress in reversed(steps)] == values[::-1]


def test_schedules_have_their_marks_where_they_say() -> None:
    cosine, one_cycle = (
        scheduled("cosine", warmup=0.2, final=0.1),
        scheduled("one_cycle", peak=0.4, start=0.2, final=0.01),
    )
    assert [cosine(p) for p in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx([0, 0.5, 1, 0.55, 0.1])
    assert [one_cycle(p) for p in (0.0, 0.2, 0.4, 1.0)] == pytest.approx([0.2, 0.6, 1, 0.01])
    marks = (0.0, 0.2499, 0.25, 0.5, 0.75, 0.9)
    stairs = scheduled("step", every=0.25, factor=0.1)
    assert [stairs(p) for p in marks] == pytest.approx([1, 1, 0.1, 0.01, 0.001, 0.001])
    halves = scheduled("step", every=0.1, factor=0.5)
    assert [halves(step / 10) for step in range(10)] == [0.5**step for step in range(10)], (
        "rounding delays no step"
    )


def test_options_in_epochs_are_shares_of_the_run() -> None:
    in_epochs, shares = scheduled("cosine", warmup_epochs=4.0), scheduled("cosine", warmup=0.2)
    assert [in_epochs(p / 50) for p in range(51)] == [shares(p / 50) for p in range(51)]
    in_epochs, shares = scheduled("step", every_epochs=5.0), scheduled("step", every=0.25)
    assert [in_epochs(p / 50) for p in range(51)] == [shares(p / 50) for p in range(51)]
    for wrong in ({"warmup_epochs": 20.0}, {"warmup_epochs": 2.0, "warmup": 0.1}):
        with pytest.raises(ValueError, match="warmup_epochs"):
            scheduled("cosine", **wrong)(0.5)


def rates(scheduler: Any, epochs: int = 20) -> list[float]:
    """The rates of a scheduler of PyTorch over some epochs."""
    found = []
    for _ in range(epochs):
        found.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return found


def test_decaying_schedules_have_the_rates_of_pytorch() -> None:
    of, marks = torch.optim.lr_scheduler, [epoch / 20 for epoch in range(20)]
    for name, options, theirs in (
        ("exponential", {"final": 0.05}, lambda sgd: of.ExponentialLR(sgd, 0.05 ** (1 / 20))),
        ("polynomial", {"power": 3.0}, lambda sgd: of.PolynomialLR(sgd, 20, 3.0)),
        ("linear", {"start": 0.25, "final": 0.75}, lambda sgd: of.LinearLR(sgd, 0.25, 0.75, 20)),
        (
            "warm_restarts",
            {"cycles": 4, "final": 0.1},
            lambda sgd: of.CosineAnnealingWarmRestarts(sgd, 5, eta_min=0.1),
        ),
        (
            "warm_restarts",
            {"cycles": 2, "grow": 3.0},
            lambda sgd: of.CosineAnnealingWarmRestarts(sgd, 5, T_mult=3),
        ),
    ):
        ours = scheduled(name, **options)
        sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        assert [ours(p) for p in marks] == pytest.approx(rates(theirs(sgd))), (name, options)


def test_the_inverse_root_rises_and_falls_as_in_the_first_transformer() -> None:
    ours = scheduled("inverse_sqrt", warmup=0.2)
    steps, rise = 50, 10
    theirs = [min(step**-0.5, step * rise**-1.5) * rise**0.5 for step in range(1, steps + 1)]
    assert [ours(step / steps) for step in range(1, steps + 1)] == pytest.approx(theirs)


@pytest.mark.parametrize("name", ["constant", "exponential", "milestones", "plateau"])
def test_every_schedule_may_begin_with_a_warmup(name: str) -> None:
    options = {"name": name, "warmup_epochs": 2.0} | ({"at": [3]} if name == "milestones" else {})
    plain = {key: value for key, value in options.items() if key != "warmup_epochs"}
    warm, cold = (planned(epochs=8, schedule=each).recipe.schedule for each in (options, plain))
    for step in range(40):
        [rate], [full] = (each.multipliers(step / 40, [[3.0, 2.0]]) for each in (warm, cold))
        assert rate == pytest.approx(min(1, step / 10) * full)
    with pytest.raises(ConfigError, match=r"schedule\.warmup_epochs: 8 epochs are no part of 8"):
        planned(epochs=8, schedule=options | {"warmup_epochs": 8.0})


def test_milestones_and_plateau_have_the_rates_of_pytorch() -> None:
    weight = [nn.Parameter(torch.zeros(1))]
    steps = scheduled("milestones", at=[5, 12], factor=0.3)
    theirs = torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD(weight, lr=1.0), [5, 12], 0.3)
    for epoch in range(20):
        assert steps((epoch + 0.5) / 20) == pytest.approx(theirs.get_last_lr()[0])
        theirs.optimizer.step()
        theirs.step()
    stream = torch.Generator().manual_seed(1)
    for case in range(30):
        figures = (torch.rand(40, generator=stream) * torch.linspace(1, 0.2 + 0.03 * case, 40)).tolist()
        options = {
            "patience": case % 4 + 1,
            "cooldown": case % 3,
            "factor": 0.5,
            "threshold": 0.01 * (case % 5),
        }
        on_plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            torch.optim.SGD(weight, lr=1.0), min_lr=0.01, eps=0.0, **options
        )
        ours = partial(PARTS.find("schedule", "plateau"), 0.5, **options, lowest=0.01)
        for epoch, figure in enumerate(figures):
            on_plateau.step(figure)
            assert ours(figures[: epoch + 1]) == pytest.approx(on_plateau.get_last_lr()[0]), (case, epoch)


# ------------------------------------------------------------------------ augmentations


@named("augmentations")
def test_an_augmentation_keeps_shape_and_type_and_draws_from_its_generator(name: str) -> None:
    augment, options = PARTS.find("augmentations", name), defaults("augmentations", name)

    takes = PARTS.part("augmentations", name).takes
    takes_targets = "targets" in takes
    soft = nn.functional.one_hot(torch.arange(8), 8).float()

    def change(inputs: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if "masks" in takes:
            size = (inputs.shape[2:],) if "size" in takes else ()
            return augment(inputs, None, generator, *size, **options)[0]
        if not takes_targets:
            return augment(inputs, generator, **options)
        changed, targets = augment(inputs, soft, generator, **options)
        torch.testing.assert_close(targets.sum(1), torch.ones(8))
        assert torch.equal(soft.argmax(1), torch.arange(8)), "the targets themselves stay"
        return changed

    inputs = torch.randn(8, 3, 10, 12)
    untouched, before = inputs.clone(), torch.get_rng_state()
    changed = change(inputs, 1)
    assert torch.equal(before, torch.get_rng_state()), "no one else's random numbers"
    assert torch.equal(inputs, untouched), "the examples themselves stay"
    assert (changed.shape, changed.dtype) == (inputs.shape, inputs.dtype)
    assert torch.equal(changed, change(inputs, 1))
    assert not torch.equal(changed, change(inputs, 2))
    as_after_crop = inputs.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(change(as_after_crop, 1), changed)
    same = inputs[:1].expand(8, -1, -1, -1)
    if takes_targets:  # of equal examples there is nothing to blend
        assert torch.allclose(change(same, 3), same, atol=1e-6)
        return
    assert len({tuple(image.flatten().tolist()) for image in change(same, 3)}) > 1, "drawn per example"


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_blend_has_the_share_of_each_class_that_it_has_of_each_image(name: str) -> None:
    """Of images of one value each, of which the first is 0 and the others are 1."""
    values = torch.tensor([0.0, *[1.0] * 7])
    inputs = values.view(8, 1, 1, 1).expand(8, 1, 16, 16).contiguous()
    targets = nn.functional.one_hot((values > 0).long(), 2).float()
    blend, seen = PARTS.find("augmentations", name), set()
    for seed in range(20):
        images, shares = blend(inputs, targets, torch.Generator().manual_seed(seed), alpha=1.0)
        torch.testing.assert_close(images.mean((1, 2, 3)), shares[:, 1])
        seen |= {round(float(share), 3) for share in shares[:, 1]}
    assert len(seen) > 20, "each example has a share of its own"


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    crop = PARTS.find("augmentations", "crop")
    images = torch.arange(1, 4 * 5 * 6 + 1).float().view(4, 1, 5, 6)
    padded = nn.functional.pad(images, [2] * 4)
    cropped, _ = crop(images, None, torch.Generator().manual_seed(0), (5, 6), padding=2)
    for image, around in zip(cropped, padded, strict=True):
        windows = [around[:, y : y + 5, x : x + 6] for y in range(5) for x in range(5)]
        assert any(torch.equal(image, window) for window in windows)


def test_a_flip_mirrors_left_and_right_as_often_as_it_says() -> None:
    flip = PARTS.find("augmentations", "flip")
    images = torch.randn(400, 1, 3, 4)
    found, _ = flip(images, None, torch.Generator().manual_seed(0), probability=0.25)
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(found, images, strict=True)]
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, found, images, strict=True))
    assert 60 < sum(mirrored) < 140
    assert torch.equal(flip(images, None, torch.Generator(), probability=1.0)[0], images.flip(3))
    upside_down, _ = flip(images, None, torch.Generator(), probability=0.0, vertical=1.0)
    assert torch.equal(upside_down, images.flip(2))
    assert torch.equal(flip(images, None, torch.Generator(), probability=0.0)[0], images)


def test_a_cutout_is_one_square_that_may_hang_over_the_edge() -> None:
    cutout = PARTS.find("augmentations", "cutout")
    images = torch.rand(4000, 3, 6, 8) + 1
    found = cutout(images, torch.Generator().manual_seed(0), size=3)
    gone = (found == 0).all(1)
    assert torch.equal(found.ne(0).any(1), ~gone), "it is the same pixels of every channel"
    assert torch.equal(found, images.masked_fill(gone.unsqueeze(1), 0)), "the rest stays as it is"
    squares = set()
    for centre_row in range(6):
        for centre in range(8):
            square = torch.zeros(6, 8, dtype=torch.bool)
            square[max(centre_row - 1, 0) : centre_row + 2, max(centre - 1, 0) : centre + 2] = True
            squares.add(tuple(square.flatten().tolist()))
    drawn = [tuple(image.flatten().tolist()) for image in gone]
    assert set(drawn) == squares, "every pixel is the centre of some"
    assert max(drawn.count(square) for square in squares) < 3 * 4000 / 48, "and none more often"


def test_a_cutout_of_everything_is_refused() -> None:
    cutout, images = PARTS.find("augmentations", "cutout"), torch.ones(50, 1, 8, 8)
    assert cutout(images, torch.Generator(), size=14).any()
    with pytest.raises(ValueError, match="covers all of it"):
        cutout(images, torch.Generator(), size=15)


# ------------------------------------------------------------------------ datasets


def dataset_options(name: str, folder: Path) -> dict[str, Any]:
    """The options of a dataset with its defaults; a file or folder that it cannot do without is there."""
    options, stated = defaults("dataset", name), PARTS.part("dataset", name).options
    if "path" in stated and stated["path"].default is REQUIRED:
        options["path"] = str(folder / "own")
        if name == "readings":
            Path(options["path"]).write_text("\n".join(f"{x} {x % 3} idle" for x in range(20)))
        elif name == "text_file":
            Path(options["path"]).write_text("A text of some words. " * 70)
        elif "target" in stated and stated["target"].default is REQUIRED:
            rows = [f"{x},{x % 3},{x * x}" for x in range(20)]
            Path(options["path"]).write_text("\n".join(["a,b,y", *rows]))
            options["target"] = "b" if "text" in stated else "y"  # of few classes
        else:
            for image in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
                (folder / "own" / image).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8)).save(folder / "own" / image)
    return options


@named("dataset")
def test_a_dataset_tells_the_options_that_have_an_effect_on_a_trained_model(name: str) -> None:
    part = PARTS.part("dataset", name)
    assert {each.split("=")[0] for each in part.constants["at_evaluation"]} <= part.options.keys()


@named("dataset")
def test_a_dataset_states_itself_without_files(name: str, tmp_path: Path) -> None:
    options = dataset_options(name, tmp_path)
    data = PARTS.find("dataset", name)(tmp_path / "none", **options)
    assert isinstance(data, Data)
    assert data.task in ("classification", "regression", "sequence", "pixels")
    assert data.input_shape and all(side > 0 for side in data.input_shape)
    assert len(set(data.classes)) == len(data.classes) > 1 or data.task == "regression"
    assert "train" in data.splits
    assert not (tmp_path / "none").exists()
    if "valid_fraction" in options:
        with_valid = PARTS.find("dataset", name)(tmp_path, **options | {"valid_fraction": 0.2})
        assert with_valid.evaluation_split == "valid"


@named("dataset")
def test_every_dataset_makes_a_plan_without_files(name: str, tmp_path: Path) -> None:
    options = dataset_options(name, tmp_path)
    data = PARTS.find("dataset", name)(tmp_path, **options)
    loss, metrics = ("mse", ["mae"]) if data.task == "regression" else ("cross_entropy", ["accuracy"])
    of_ids = {"name": "rnn" if data.places else "embedding_bag"}
    of_numbers = {"name": "unet", "channels": 2} if data.places else {"name": "mlp", "flatten": True}
    plan = planned(
        PARTS,
        dataset={"name": name, **options},
        loss=loss,
        metrics=metrics,
        architecture=of_ids if data.vocabulary else of_numbers,
        data_dir=tmp_path / "none",
    )
    assert plan.layers.output_shape == (len(plan.data.classes) or plan.data.targets, *plan.data.places)


@pytest.mark.parametrize(
    "name", [name for name in PARTS.names("dataset") if "known" in PARTS.part("dataset", name).takes]
)
def test_a_dataset_states_itself_from_what_a_checkpoint_knows(name: str, tmp_path: Path) -> None:
    options = dataset_options(name, tmp_path)
    make = PARTS.find("dataset", name)
    learnt = make(tmp_path, **options)
    if (tmp_path / "own").exists():
        (tmp_path / "own").rename(tmp_path / "gone")
    again = make(tmp_path, dict(learnt.known), **options)
    assert (again.known, again.task, again.input_shape) == (learnt.known, learnt.task, learnt.input_shape)
    assert (again.classes, again.features) == (learnt.classes, learnt.features)
    assert (again.scaling, again.splits) == (learnt.scaling, learnt.splits)
    assert (again.vocabulary, again.places) == (learnt.vocabulary, learnt.places)


# ------------------------------------------------------------------------ plots

RUNS: dict[str, dict[str, Any]] = {
    "points": {
        "seeds": [0, 1],
        "dataset": {"name": "spiral", "points": 20},
        "plots": ["decision_animation"],
    },
    "images": {
        "dataset": "dots",
        "architecture": {"name": "cnn", "channels": [2], "kernel_size": 3, "padding": 1},
    },
    "softmax regression": {
        "dataset": "dots",
        "architecture": {"name": "linear", "flatten": True},
        "augmentations": ["flip", "mixup"],
    },
    "two classes": {
        "dataset": {"name": "spiral", "points": 20, "classes": 2, "valid_fraction": 0.2},
        "loss": "bce",
    },
    "squared error over classes": {
        "dataset": {"name": "spiral", "points": 20},
        "loss": "mse",
        "architecture": {"name": "mlp", "output_activation": "sigmoid"},
    },
    "a regression": {"dataset": "line", "loss": "mse", "metrics": ["rmse", "r2"]},
    "days": {"seeds": [0, 1], "dataset": "days", "loss": "mse", "metrics": ["mae"]},
    "a series": {
        "seeds": [0, 1],
        "dataset": {"name": "hourly_demand", "days": 20, "window": 24, "horizon": 6, "season": 24},
        "architecture": {"name": "mlp", "hidden": [8], "flatten": True},
        "loss": "mse",
        "metrics": ["mae"],
    },
    "one epoch": {"epochs": 1, "metrics": []},
    "pixels": {
        "seeds": [0, 1],
        "dataset": {"name": "shapes", "images": 20, "test_images": 8, "size": 16},
        "architecture": {"name": "unet", "channels": 2, "depth": 1},
        "augmentations": ["affine"],
        "metrics": ["iou"],
    },
    "a reconstruction": {
        "task": "reconstruction",
        "dataset": "dots",
        "architecture": {"name": "autoencoder", "hidden": [4], "code": 2},
        "loss": "mse",
        "metrics": ["rmse"],
    },
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Give a small run of a kind, opened again from what it left."""
    folder = tmp_path_factory.mktemp("finished")

    @cache
    def opened(kind: str) -> Trained:
        run = trained(planned(OWN, **RUNS[kind]), folder)
        found, _ = open_checkpoint(run.best, run, [], OWN, folder)
        return found

    return opened


def suited(name: str, finished: Callable[[str], Trained]) -> Iterator[Trained]:
    """The runs for whose data and model a plot is. Others are refused with one mistake."""
    plots = [{"name": name, **defaults("plots", name)}]
    for kind, changes in RUNS.items():
        try:
            planned(OWN, **changes | {"plots": plots})
        except ConfigError as refused:
            assert len(refused.mistakes) == 1
            continue
        yield finished(kind)


def outside(figure: Figure) -> list[str]:
    """The words in a figure that reach over its edge."""
    renderer, edge = figure.canvas.get_renderer(), figure.bbox.padded(2)  # type: ignore[attr-defined]
    words = [figure._suptitle, *figure.texts]
    for axes in figure.axes:
        words += [
            axes.title,
            axes._left_title,
            axes._right_title,
            axes.xaxis.label,
            axes.yaxis.label,
            *axes.texts,
        ]  # type: ignore[attr-defined]
        legend = axes.get_legend()
        words += [*legend.get_texts(), legend.get_title()] if legend else []
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in words if text.get_text()]
    return [text for text, box in extents if not (edge.x0 <= box.x0 and box.x1 <= edge.x1)]


@named("plots")
@pytest.mark.parametrize("most", mostly_slow([1, len(RUNS)], 1), ids=["of a run", "of every run"])
def test_a_plot_is_a_figure_or_says_why_not_and_changes_nothing(
    name: str, most: int, finished: Callable[[str], Trained], tmp_path: Path
) -> None:
    drawn = 0
    for run in suited(name, finished):
        before = [p.detach().clone() for p in run.model.parameters()]
        state, others = torch.get_rng_state(), (random.getstate(), np.random.get_state()[1].tolist())
        try:
            picture = PARTS.find("plots", name)(run, **defaults("plots", name))
        except UserError as error:
            assert error.what.startswith(name), "it says which plot it is"
            continue
        if isinstance(picture, Animation):
            picture.save(tmp_path / "moving.gif", writer="pillow")
            picture = picture._fig  # type: ignore[attr-defined]
        assert isinstance(picture, Figure)
        FigureCanvasAgg(picture).draw()
        texts = [picture.get_suptitle(), *(axes.get_title() for axes in picture.axes)]
        assert any(texts), "a picture has a title"
        assert not outside(picture)
        drawn += 1
        assert not differences(before, [p.detach() for p in run.model.parameters()])
        assert torch.equal(state, torch.get_rng_state())
        assert others == (random.getstate(), np.random.get_state()[1].tolist())
        assert not any(layer._forward_hooks for layer in run.model.modules())
        if drawn == most:
            break
    assert drawn, "it applies to none of the runs"
