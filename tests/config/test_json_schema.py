"""The JSON Schema of a config accepts what the checks accept, and refuses the same in the same line."""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from config_values import POOL, TEXTS, misspelt, refused_by_key, some
from jsonschema import Draft202012Validator
from places import PROJECT
from small_configs import BODY

from dlrun.config import claims, durations
from dlrun.config.claims import parse_claim
from dlrun.config.durations import is_duration
from dlrun.config.json_schema import schema_of
from dlrun.config.json_types import NOT_FINITE, NOT_FINITE_NAME, type_schema
from dlrun.config.keys import KEYS, Choice, default_of, key_types
from dlrun.config.loading import config_from_plain, load_config
from dlrun.config.lookup import OF_EDITORS, shipped_folder
from dlrun.config.mistakes import ConfigError
from dlrun.config.option_types import describe, read_type
from dlrun.config.option_values import accepts
from dlrun.config.reference import as_shown, reference_of
from dlrun.config.registry import KINDS, REQUIRED, Option, Part, Parts
from dlrun.config.strict_yaml import parse, read_file
from dlrun.errors import UserError
from dlrun.sweeps.grid import settings_of_grid

PARTS = Parts()
REFERENCE = reference_of(PARTS)
SCHEMA = schema_of(REFERENCE)
VALIDATOR = Draft202012Validator(SCHEMA)
COMPLETE: dict[str, Any] = parse(BODY, "body").plain() | {"name": "a", "batch_size": 50}
MORE: list[Any] = [
    *(1, 2, 0.5, 1.0, 1e3, -1.0, 0.0, 0.999999, 100, 1025, 2**63 - 1, 10**19, 1e-300, None),
    *("auto", "AUTO", "full", "ReLU", "45s", "10x", ">= 0.5", "x", "valid_loss", "cuda:1", "null"),
    *([1], [0.5], [1.5, 2], ["a"], ["a", "a"], [["a"]], [True], {"a": "b"}, {"a": 0.5}, {"a": None}),
]
# Types that no part of dlrun has, but one of a user's may have.
OF_OWN_PARTS = [
    *("int | float", "bool | int", "list[int] | list[str]", "Duration | Count", "str | Literal['auto']"),
    *("Annotated[int | float, Ge(0)]", "Annotated[int, Gt(0), Le(2)] | list[float]", "Literal[1, 3] | None"),
    *("Literal[1, 'A', True]", "Literal[0.5] | str", "list[Literal['A', 2]]", "Literal['x', None]"),
    *(
        "dict[str, float | Literal['A']]",
        "dict[Literal['a'], str]",
        "dict[int, str]",
        "dict[str, dict[str, int]]",
    ),
]
Write = Callable[[str, str], Path]
Dlrun = Callable[..., Any]


def refusal(plain: dict[str, Any]) -> str:
    """The mistakes for which the checks refuse a config, in one text; "" if they accept it."""
    try:
        config_from_plain(plain, "drawn", parts=PARTS)
    except UserError as error:
        return "\n".join(error.lines(debug=True))
    return ""


def has_whole_float(value: Any) -> bool:
    """True if a value has a number such as 1.0 in it, which JSON does not tell from 1."""
    if isinstance(value, list | dict):
        return any(map(has_whole_float, value.values() if isinstance(value, dict) else value))
    return type(value) is float and value.is_integer()


def every_option() -> Iterator[tuple[Part, Option]]:
    for kind in KINDS:
        for name in PARTS.names(kind):
            part = PARTS.part(kind, name)
            yield from ((part, option) for option in (part.options | part.common).values())


def with_option(part: Part, option: str, value: Any) -> dict[str, Any]:
    """The key of a part with a value of one option, and of those that it requires."""
    shown = as_shown(part)
    required = {each.name: shown[each.name] for each in part.options.values() if each.is_required}
    choice = {"name": part.name} | required | {option: value}
    return {part.kind: [choice] if isinstance(default_of(part.kind), list) else choice}


# ------------------------------------------------------------------------------------------ values


def test_it_agrees_with_the_checks_on_every_type_that_a_key_or_an_option_has() -> None:
    types = {str(option.type): option.type for _, option in every_option()}
    types |= {str(kind): kind for key, kind in key_types().items() if key != "groups"}
    for kind in [*types.values(), *(read_type(ast.parse(text).body[0].value) for text in OF_OWN_PARTS)]:
        if kind in (Choice, list[Choice]):
            continue
        validator = Draft202012Validator(type_schema(kind) | {"$defs": {NOT_FINITE_NAME: NOT_FINITE}})
        for value in [*POOL, *MORE[::4], "a", ["a"], {"a": "a"}, {"a": "A"}]:
            if validator.is_valid(value) != accepts(kind, value):
                assert has_whole_float(value) and not accepts(kind, value), (describe(kind), value)


def test_it_agrees_with_the_checks_on_durations_and_claims() -> None:
    numbers = [
        "",
        "0",
        "1",
        "00",
        "1.5",
        "0.0",
        "1.",
        ".5",
        "1e3",
        "1_000",
        "1__0",
        "nan",
        "-inf",
        "Infinity",
    ]
    lengths = [
        f"{a}{unit}{b}" for a in numbers for unit in "dhms:" for b in ("", "1s", "30m", "59:59", "60:00")
    ]
    for text in [*TEXTS, *numbers, *lengths, *(f"{a}-0{b}" for a in numbers for b in lengths[:10])]:
        assert bool(re.search(durations.PATTERN, text)) == is_duration(text), text
    wanted = [
        f"{sign}{space}{number}"
        for sign in (">=", "==", "<", "=>", "")
        for number in numbers
        for space in ("", " ")
    ]
    for text in [*TEXTS, *wanted, *(f"{one}, {two}" for one in wanted[:40:3] for two in wanted[::7])]:
        try:
            is_claim = bool(parse_claim(text))
        except ValueError:
            is_claim = False
        assert bool(re.search(claims.PATTERN, text)) == is_claim, text


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_it_agrees_with_the_checks_on_every_value_of_every_key(key: str) -> None:
    bad = refused_by_key(key, key_types()[key])
    for value in [*POOL, *MORE, *bad]:
        plain = COMPLETE | {key: value}
        if value is None and key == "name":  # the name of the file
            continue
        why = refusal(plain)
        if VALIDATOR.is_valid(plain) == bool(why):
            assert has_whole_float(value) and "is not " in why, (value, why)
    assert not any(VALIDATOR.is_valid(COMPLETE | {key: value}) for value in bad if not has_whole_float(value))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_the_checks_on_every_value_of_every_option(kind: str) -> None:
    for part, option in every_option():
        if part.kind != kind:
            continue
        drawn = [some(option.type, random.Random(seed)) for seed in range(2)]
        for value in [*POOL, *MORE, *drawn, *([] if option.is_required else [option.default])]:
            chosen = with_option(part, option.name, value)
            why = refusal(COMPLETE | {"metrics": []} | chosen)
            if VALIDATOR.is_valid({"base": "other.yaml"} | chosen) == bool(why):
                assert has_whole_float(value) and "is not " in why, (part.name, option.name, value, why)


@pytest.mark.slow
def test_it_refuses_every_misspelt_key_option_and_part() -> None:
    plain = COMPLETE | {"metrics": []}
    for key in KEYS:
        assert not VALIDATOR.is_valid(plain | {misspelt(key): 1}), key
    for part, option in every_option():
        if misspelt(option.name) not in (part.options | part.common):
            wrong = with_option(part, misspelt(option.name), option.default)
            [error] = VALIDATOR.iter_errors({"base": "other.yaml"} | wrong)
            assert f"'{misspelt(option.name)}' was unexpected" in error.message
            assert list(error.absolute_path)[:1] == [part.kind]
    for kind in KINDS:
        for name in {misspelt(name) for name in PARTS.names(kind)} - {*PARTS.names(kind)}:
            assert not VALIDATOR.is_valid(plain | {kind: name}), name


# ------------------------------------------------------------------------------------------ configs


def verdicts(text: str, write: Write) -> tuple[set[int], set[int]]:
    """The lines of a config in which the checks find a mistake, and those in which the schema does."""
    path = write("drawn.yaml", text)
    tree, of_checks, of_schema = read_file(path), set[int](), set[int]()
    try:
        if "sweep" in tree.value:
            settings_of_grid(path, (), None, None, PARTS)
        load_config(path)
    except ConfigError as error:
        of_checks = {mistake.place.line for mistake in error.mistakes}
    except UserError as error:
        of_checks = {int(error.where.split(":")[1])}
    for error in VALIDATOR.iter_errors(tree.plain()):
        here = tuple(error.absolute_path)
        unknown = re.findall(r"'(\w+)'", error.message) if error.validator == "additionalProperties" else []
        of_schema |= {tree.at((*here, *key)).key_place.line for key in [[each] for each in unknown] or [[]]}
    return of_checks, of_schema


def changed(line: str) -> str:
    """BODY with a line in place of that of the same key, or at the end."""
    key = line.partition(":")[0]
    kept = [each for each in BODY.splitlines() if not each.startswith(f"{key}:")]
    return "\n".join([*kept, line, ""])


@pytest.mark.parametrize(
    "line",
    [
        "name: Ünïcode-1",
        "optimizer: {name: Adam, lr: 1}",
        "architecture: MLP",
        "architecture: {name: mlp, activation: ReLU, hidden: []}",
        "metrics: accuracy",
        "metrics: {name: f1, average: Macro}",
        "metrics: null",
        "metrics: []",
        "plots: auto",
        "plots: [Auto, curves]",
        "plots: {name: auto}",
        "schedule: null",
        "schedule: {name: cosine, warmup_epochs: 0.5}",
        "loss: {name: cross_entropy, class_weight: {a: 2}, label_smoothing: 0.1}",
        "loss: {name: cross_entropy, class_weight: Balanced}",
        "device: CUDA:1",
        "task: Other",
        "threads: 4",
        "limit: 0.5",
        "limit: 100",
        "process_timeout: 1h30m",
        "expect: {best.valid_loss_average: '< 1', seconds: '< 9'}\naverage: ema",
        "expect: {best.test_accuracy: '>= 0.5, < 1', seconds: '< 9'}",
        "monitor: valid_accuracy",
        "groups: [{match: '*.bias', weight_decay: 0}, {match: '*', lr: 0.1x, beta1: 0.5}]",
        "groups: []",
    ],
)
def test_it_accepts_every_form_that_the_checks_accept(line: str, write: Write) -> None:
    of_checks, of_schema = verdicts(changed(line), write)
    assert (of_checks, of_schema) == (set(), set())


@pytest.mark.parametrize(
    "line",
    [
        "epoch: 3",
        "epochs: ten",
        "epochs: true",
        "epochs: null",
        "seeds: []",
        "seeds: [1, 1]",
        "name: a b",
        "device: gpu",
        "task: clasification",
        "limit: 1.5",
        "limit: 0",
        "monitor: valid_acuracy",
        "monitor: train_loss_average",
        "process_timeout: 10x",
        "expect: {train_acuracy: '> 1'}",
        "expect: {train_accuracy: '=> 1'}",
        "expect: {train_accuracy: null}",
        "optimizer: null",
        "optimizer: adm",
        "optimizer: adam",
        "optimizer: [adam]",
        "optimizer: {}",
        "optimizer: {lr: 0.1}",
        "optimizer: {name: 5, lr: 0.1}",
        "optimizer: {name: adm, lr: 0.1}",
        "optimizer: {name: adam, lr: -1}",
        "optimizer: {name: adam, lr: .nan}",
        "optimizer: {name: adam, lr: .inf}",
        "optimizer: {name: adam, lr: '0.1'}",
        "optimizer:\n  name: adam\n  lr: 0.1\n  weight_decy: 0",
        "optimizer:\n  name: Adam\n  lr: 0.1\n  momentum: 0.9",
        "architecture:\n  name: mlp\n  hidden:\n    - 100\n    - 0",
        "loss:\n  name: mse\n  label_smothing: 0.1",
        "metrics: [acuracy]",
        "metrics: 5",
        "metrics: [null]",
        "metrics:\n  - accuracy\n  - name: f1\n    averge: macro",
        "metrics:\n  - average: macro",
        "metrics: {average: macro}",
        "plots: automatic",
        "plots: [{name: auto, most: 3}]",
        "groups: {match: '*', lr: 1}",
        "groups: [{lr: 1}]",
        "groups:\n  - match: '*'\n    weight_decy: 0",
        "groups:\n  - match: '*'\n    lr: 10%",
        "base: null",
    ],
)
def test_it_refuses_what_the_checks_refuse_in_the_same_line(line: str, write: Write) -> None:
    of_checks, of_schema = verdicts(changed(line), write)
    assert of_checks & of_schema, (of_checks, of_schema)


def test_a_required_key_may_be_missing_above_a_base_alone(write: Write) -> None:
    write("whole.yaml", BODY)
    accepted = [
        "optimizer: {lr: 0.1}",
        "optimizer: {name: adam}",
        "optimizer: adam",
        "architecture: {dropout: 0.1}",
    ]
    for line in ["", *accepted, "groups: [{match: '*', beta1: 0.5, lr: 0.1x}]", "metrics: [f1]"]:
        assert verdicts(f"base: whole.yaml\n{line}", write) == (set(), set()), line
    for line in (
        "optimizer: {lrr: 0.1}",
        "optimizer: {lr: -1}",
        "epochs: null",
        "metrics: [{average: macro}]",
        "groups: [{match: '*', lrr: 0.5}]",
        "a: 1",
    ):
        assert verdicts(f"base: whole.yaml\n{line}", write) == ({2}, {2}), line
    without = BODY.replace("epochs: 10\n", "")
    assert verdicts(without, write) == ({1}, {1})


@pytest.mark.parametrize(
    ("values", "is_right"),
    [
        ("optimizer.lr: [0.1, 0.01]", True),
        ("optimizer.lr: log(1e-4,1e-1,3)", True),
        ("optimizer: {lr: [0.1, 0.01], name: [adam, adamw]}", True),
        ("optimizer: [adam, adamw]", True),
        ("loss.class_weight.a: [1, 2]", True),
        ("batch_size: [1, full]", True),
        ("dataset.seed: 1..3", True),
        ("optimizer.lrr: [0.1, 0.01]", False),
        ("optimizer: {lrr: [0.1, 0.01]}", False),
        ("lr: [0.1, 0.01]", False),
        ("optimizer.lr: []", False),
        ("optimizer.lr.low: [1, 2]", False),
    ],
)
def test_it_knows_the_keys_of_a_sweep(values: str, is_right: bool, write: Write) -> None:
    of_checks, of_schema = verdicts(f"{BODY}sweep:\n  {values}\n", write)
    assert (not of_checks, not of_schema) == (is_right, is_right), (of_checks, of_schema)


def test_a_sweep_may_give_what_its_file_lacks() -> None:
    lacking = {key: value for key, value in COMPLETE.items() if key != "epochs"}
    assert not VALIDATOR.is_valid(lacking)
    assert VALIDATOR.is_valid(lacking | {"sweep": {"epochs": [1, 2]}})


# ------------------------------------------------------------------------------------------ the schema itself


def test_it_is_a_schema_of_draft_2020_12_without_a_definition_too_many() -> None:
    small = replace(REFERENCE, kinds=tuple(replace(each, parts=each.parts[:2]) for each in REFERENCE.kinds))
    Draft202012Validator.check_schema(schema_of(small))
    assert {*re.findall(r"'\$ref': '#/\$defs/([^'/]+)", str(SCHEMA))} == set(SCHEMA["$defs"])


@pytest.mark.slow
def test_all_of_it_is_a_schema_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_it_has_the_meaning_and_the_default_of_each_key_and_each_option() -> None:
    for key in KEYS:
        shown, default = SCHEMA["properties"][key], None if key == "name" else default_of(key)
        assert KEYS[key].help in shown["description"], key
        assert ("default" in shown) == (default is not REQUIRED), key
        assert shown.get("default", REQUIRED) == default, key
    for part, option in every_option():
        found = SCHEMA["$defs"][f"{part.kind}.{part.name}"]["properties"][option.name]
        if "$ref" in found:
            found = SCHEMA["$defs"][f"{part.kind}-common"]["properties"][option.name]
        assert option.help.removesuffix(".") in found["description"], (part.name, option.name)
        assert describe(option.type) in found["description"], (part.name, option.name)
        assert ("default" in found) != option.is_required, (part.name, option.name)
        assert option.is_required or found["default"] == option.default, (part.name, option.name)


def test_every_shipped_config_is_accepted_and_names_the_schema() -> None:
    paths = sorted(shipped_folder().glob("**/*.yaml"))
    assert len(paths) > 30
    for path in paths:
        assert [*VALIDATOR.iter_errors(read_file(path).plain())] == [], path
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        named = path.parent / first.removeprefix(OF_EDITORS)
        assert named.resolve() == shipped_folder() / "config.schema.json", path


def test_the_shipped_schema_is_what_the_command_prints(dlrun: Dlrun) -> None:
    shipped = (PROJECT / "configs" / "config.schema.json").read_text(encoding="utf-8")
    assert dlrun("schema").out == shipped, "dlrun schema -o configs/config.schema.json"


# ------------------------------------------------------------------------------------------ the command

OWN = '''
def own(outputs, targets, *, weight: Annotated[float, Gt(0)], kind: Literal["a-b", "c.d"] = "a-b"):
    """A loss of my own.

    Args:
        weight: Weight of all classes.

    Example:
        loss: {name: own, weight: 2}
    """
    return outputs
'''


def test_a_part_of_ones_own_is_checked_like_any_other(dlrun: Dlrun, write: Write, tmp_path: Path) -> None:
    write("mine/loss/own.py", OWN)
    validator = Draft202012Validator(json.loads(dlrun("schema", "--parts", tmp_path / "mine").out))
    for right in ({"weight": 2}, {"weight": 2, "kind": "A-B"}, {"weight": 0.5, "label_smoothing": 0.1}):
        assert validator.is_valid(COMPLETE | {"loss": {"name": "own"} | right}), right
    for wrong in ({}, {"weight": 0}, {"weight": 2, "kind": "axb"}, {"weight": 2, "kind": "cxd"}, {"wait": 2}):
        assert not validator.is_valid(COMPLETE | {"loss": {"name": "own"} | wrong}), wrong
    assert not VALIDATOR.is_valid(COMPLETE | {"loss": {"name": "own", "weight": 2}})


def test_it_is_written_anew_but_over_nothing_else(dlrun: Dlrun, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for _ in range(2):
        done = dlrun("schema", "-o", path)
        line = f"the first line of a config beside it: {OF_EDITORS}mine.json"
        assert (done.code, done.out.splitlines()) == (0, [str(path), line])
        assert json.loads(path.read_text(encoding="utf-8")) == SCHEMA
    other = tmp_path / "my.yaml"
    other.write_text(BODY)
    done = dlrun("schema", "-o", other)
    assert (done.code, done.out, other.read_text()) == (2, "", BODY)
    assert f"{other} is there already" in done.err
    done = dlrun("schema", "-o", tmp_path / "none" / "x.json")
    assert done.code == 2 and f"there is no folder {tmp_path / 'none'}" in done.err


def test_a_part_that_cannot_be_read_is_said(dlrun: Dlrun, write: Write, tmp_path: Path) -> None:
    path = write("mine/loss/own.py", "def own(outputs, targets, *, weight):\n    return outputs\n")
    done = dlrun("schema", "--parts", tmp_path / "mine")
    assert (done.code, done.out) == (2, "")
    assert f"{path}:1" in done.err
