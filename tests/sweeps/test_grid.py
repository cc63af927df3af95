"""The settings of a sweep: names and values are read as `dlrun train` reads them, lists excepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_sweeps import CONFIG

from dlrun.config.mistakes import ConfigError
from dlrun.config.registry import Parts
from dlrun.errors import UserError
from dlrun.sweeps.grid import Setting, settings_of_grid


@pytest.fixture
def config(write: Callable[[str, str], Path]) -> Path:
    return write("small.yaml", CONFIG)


def settings(path: Path, *given: str) -> list[Setting]:
    return settings_of_grid(path, given, None, None, Parts())


def test_names_and_choices_in_any_case_are_one_value_in_their_own_letters(config: Path) -> None:
    found = settings(config, "architecture.activation=ReLU,Tanh,relu", "optimizer.name=Adam,SGD")
    assert [tuple(each.values.values()) for each in found] == [
        ("relu", "adam"),
        ("relu", "sgd"),
        ("tanh", "adam"),
        ("tanh", "sgd"),
    ]


@pytest.mark.parametrize("key", ["optimizer", "optimizer.name"])
def test_each_part_keeps_the_options_of_the_config_that_it_has(
    key: str, write: Callable[[str, str], Path]
) -> None:
    text = CONFIG.replace(
        "optimizer: {name: adam, lr: 1e-2}", "optimizer: {name: adam, lr: 1e-2, beta2: 0.9}"
    )
    assert text != CONFIG
    adam, sgd = settings(write("small.yaml", text), f"{key}=adam,sgd")
    of_adam, of_sgd = adam.configs[0], sgd.configs[0]
    assert (of_adam.optimizer.options["beta2"], of_adam.notes) == (0.9, ())
    assert of_sgd.optimizer.options == {"lr": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    assert of_sgd.notes == (f"{key}=sgd: beta2 of the config is left out",)


def test_a_value_that_a_config_leaves_out_stays_as_it_is(config: Path) -> None:
    found = settings(config, "architecture.weights=null,a.pt")
    assert [each.values for each in found] == [
        {"architecture.weights": None},
        {"architecture.weights": "a.pt"},
    ]


def test_a_list_of_numbers_without_brackets_is_said_to_be_several_values(config: Path) -> None:
    with pytest.raises(UserError) as refused:
        settings(config, "architecture.hidden=100,100")
    assert refused.value.what == "100,100 are 2 values in a sweep, and architecture.hidden is a list"
    assert refused.value.fix == (
        "write architecture.hidden=[100,100] for one list, architecture.hidden=[100],[100] for several"
    )
    one, other = settings(config, "architecture.hidden=[10,10]", "epochs=1,2")
    assert one.configs[0].architecture.options["hidden"] == [10, 10]
    assert other.configs[0].epochs == 2


@pytest.mark.parametrize(
    ("words", "remedies"),
    [
        (["lr=0.1,0.2"], ["write optimizer.lr=0.1,0.2"]),
        (["lr=log(1e-4,1e-1,7)"], ["write 'optimizer.lr=log(1e-4,1e-1,7)'"]),
        (
            ["lr=0.1,0.2", "hidden=[4],[8]"],
            ["write optimizer.lr=0.1,0.2", "write architecture.hidden=[4],[8]"],
        ),
        (["optimizer.learning_rate=0.1,0.2"], ["write optimizer.lr=0.1,0.2"]),
    ],
)
def test_a_wrong_key_is_one_mistake_with_all_of_its_values(
    words: list[str], remedies: list[str], config: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        settings(config, *words)
    mistakes = refused.value.mistakes
    assert len(mistakes) == len(remedies)
    for remedy, mistake in zip(remedies, mistakes, strict=True):
        assert mistake.what.endswith(remedy)


def test_zipped_values_are_paired_as_they_stand(config: Path) -> None:
    found = settings_of_grid(
        config, ["epochs=1,2,2", "batch_size=7,7,8", "patience=3"], None, None, Parts(), is_zipped=True
    )
    assert [each.values for each in found] == [
        {"epochs": epochs, "batch_size": size} for epochs, size in ((1, 7), (2, 7), (2, 8))
    ]
    assert {one.patience for each in found for one in each.configs} == {3}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["epochs=1,2", "batch_size=7,8,9"], "one by one, but epochs has 2 and batch_size has 3"),
        (["epochs=1,2", "batch_size=7"], "only epochs has several values"),
        (["epochs=1"], "no key has several values"),
        (["epochs=1,2", "optimizer.lr=log(1e-3,1)"], "optimizer.lr is a range without a count"),
    ],
)
def test_values_that_make_no_pairs_are_refused(config: Path, given: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings_of_grid(config, given, None, None, Parts(), is_zipped=True)


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        (
            "loguniform(1e-4, 1e-1)",
            "write log(1e-4,1e-1,5) for 5 values, or log(1e-4,1e-1) with --random N",
        ),
        ("tune.loguniform(1e-4,1e-1)", "write log(1e-4,1e-1,5) for 5 values"),
        ("log-uniform(0.1,1)", "write log(0.1,1,5) for 5 values"),
        ("logspace(-4,-1,4)", "write log(0.0001,0.1,4) for 4 values"),
        ("tag(log, interval(0.1, 1))", "write log(0.1,1,5) for 5 values"),
        ("uniform(0,0.5)", "write linspace(0,0.5,5) for 5 values"),
        ("choice(0.1,0.2)", "write the values with commas between them: 0.1,0.2"),
        ("grid([0.1,0.2])", "write the values with commas between them: 0.1,0.2"),
        ("range(1,5)", "write 1..4, which has both ends"),
        ("suggest_int(1,5)", "write 1..5, which has both ends"),
        ("range(3)", "write 0..2, which has both ends"),
        ("range(0,10,2)", "write the values with commas between them: 0,2,4,6,8"),
        ("suggest_float(1e-4, 1e-1, log=True)", "write log(1e-4,1e-1,5) for 5 values"),
        ("logspace(-1.5,2,4)", "write log(0.0316,100,4) for 4 values"),
        ("hp.loguniform(-9,-2)", "write log(0.000123,0.135,5) for 5 values"),
        ("np.linspace(0,1,5)", "write linspace(0,1,5) for 5 values"),
        ("{low: 0.1, high: 0.5}", "write linspace(0.1,0.5,5) for 5 values"),
    ],
)
def test_ranges_of_other_tools_are_answered_by_those_of_dlrun(config: Path, written: str, fix: str) -> None:
    with pytest.raises(UserError, match="is how another tool writes values") as refused:
        settings(config, f"optimizer.lr={written}")
    assert refused.value.fix.startswith(fix)


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("{min: 1.0e-4, max: 0.1, distribution: log_uniform_values}", "write log(0.0001,0.1,5) for 5 values"),
        ("{low: 0.1, high: 0.5}", "write linspace(0.1,0.5,5) for 5 values"),
        ("{min: -9, max: -2, distribution: log_uniform}", "write log(0.000123,0.135,5) for 5 values"),
        ("{values: [0.1, 0.2]}", "write the list itself: [0.1, 0.2]"),
        ("{value: 0.1}", "write the list itself: [0.1]"),
    ],
)
def test_mappings_of_other_tools_are_answered_by_lists(
    write: Callable[[str, str], Path], written: str, fix: str
) -> None:
    path = write("small.yaml", f"{CONFIG}sweep:\n  optimizer.lr: {written}\n")
    with pytest.raises(UserError, match=r"optimizer.lr: values to sweep are a list") as refused:
        settings(path)
    assert refused.value.fix.startswith(fix) and ":11:17" in refused.value.where


@pytest.mark.parametrize(
    "written", ["range(1,1)", "loguniform(0,1,2,3,4)", "uniform(a,b)", "{low: a, high: b}"]
)
def test_no_remedy_is_made_up(config: Path, written: str) -> None:
    with pytest.raises(UserError) as refused:
        settings(config, f"optimizer.lr={written}")
    assert "linspace" not in str(refused.value) and "log(" not in str(refused.value)


def test_texts_that_are_no_ranges_are_values(config: Path) -> None:
    found = settings(config, "name=a,b", "architecture.weights=null,my(1).pt")
    assert len(found) == 4
