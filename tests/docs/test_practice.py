"""The config and the commands of docs/practice.md do what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pages import blocks, page

from dlrun.config.keys import KEYS
from dlrun.config.loading import load_config
from dlrun.config.registry import COMMON, KINDS, Parts
from dlrun.run_folders.listing import runs_in
from dlrun.training.plan_making import make_plan
from dlrun.training.weights_file import with_weights_found

PAGE = page("docs/practice.md")
PLAIN = [content for kind, _, content in blocks(PAGE) if not kind]


def test_its_pieces_are_one_config_in_which_the_last_layer_learns_alone_at_first(tmp_path: Path) -> None:
    for kind in ("cats", "dogs"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        (tmp_path / "photos" / kind / "1.png").write_bytes(b"")  # whose name alone is read
    [groups] = re.findall(r"`(groups: .*)`", PAGE)
    pieces = [content for kind, _, content in blocks(PAGE) if kind == "yaml"]
    (tmp_path / "fine.yaml").write_text("".join([*pieces, groups, "\n"]))
    parts = Parts()
    config = with_weights_found(load_config(tmp_path / "fine.yaml", (), parts), parts, tmp_path)
    plan = make_plan(config, parts, tmp_path)
    assert plan.config.dataset.options["size"] == 224
    frozen = plan.recipe.freezing
    assert {name for name, _ in plan.build().named_parameters()} - frozen.weights == {"fc.weight", "fc.bias"}
    assert (frozen.count, frozen.epochs) == (11_176_512, 3)  # resnet18 without its layer for 1000 classes


def test_a_run_goes_on_from_another_as_on_the_page(dlrun: Callable[..., Any], runs_dir: Path) -> None:
    commands = PLAIN[0].splitlines()
    for command in commands:
        words = shlex.split(re.sub(r"epochs=\d+", "epochs=1", command))[1:]
        assert dlrun(*words, "plots=[]").code == 0
    after, first = runs_in(runs_dir)
    assert after.summary()["weights"]["source"] == str(first.folder)


def test_the_commands_on_rare_classes_train(dlrun: Callable[..., Any]) -> None:
    for command in PLAIN[1].splitlines():
        assert dlrun(*shlex.split(command)[1:], "epochs=1", "seeds=[0]", "plots=[]").code == 0


def test_a_student_is_trained_and_judged_as_on_the_page(dlrun: Callable[..., Any], runs_dir: Path) -> None:
    for command in PLAIN[2].splitlines():
        assert dlrun(*shlex.split(command)[1:], "epochs=1", "plots=[]").code == 0
    small, large = runs_in(runs_dir)
    assert small.summary()["teacher"]["source"] == str(large.folder)
    assert dlrun("eval", "small").code == 0


def test_the_plots_of_its_commands_have_the_options_that_they_name() -> None:
    parts = Parts()
    commands = [line for block in PLAIN for line in block.splitlines() if line.startswith("dlrun plot last ")]
    assert len(commands) > 2
    for command in commands:
        for word in shlex.split(command)[3:]:
            name, _, option = word.partition("=")[0].partition(".")
            assert not option or option in parts.part("plots", name).options, command
            parts.part("plots", name)


def test_what_it_calls_dlruns_word_is_a_key_an_option_or_a_part() -> None:
    parts = Parts()
    names = {name for kind in KINDS for name in parts.names(kind)} | {"norm", "value", "agc", "pretrained"}
    options = {
        option for kind in KINDS for name in parts.names(kind) for option in parts.part(kind, name).options
    }
    options |= {option for common in COMMON.values() for option in common}
    rows = PAGE[PAGE.index("## What other tools call it") :].splitlines()[4:]
    tokens = [token for row in rows for token in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])]
    assert len(tokens) > 20
    for token in tokens:
        *kinds, name = token.partition(":")[0].split(".")
        value = token.partition(": ")[2]
        known = name in KEYS or name in names or name in options or token in ("best.pt", "FILE")
        commands = [f"dlrun {command}" for command in ("train", "data", "plot", "eval", "calibrate")]
        assert known or token.startswith(tuple(commands)), token
        assert all(kind in KEYS for kind in kinds) or token == "best.pt", token
        assert name not in KINDS or not value.isidentifier() or value in parts.names(name), token
