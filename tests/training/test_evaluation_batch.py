"""The number of examples that are evaluated at once: it suits the model, and is the same for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import differences, go_on, outcome, own_parts, planned, trained

from dlrun.config.keys import OF_EARLIER_RUNS
from dlrun.config.loading import config_from_plain, load_run_config
from dlrun.config.mistakes import ConfigError
from dlrun.training.checkpoint import load_checkpoint
from dlrun.training.evaluation import evaluate_run
from dlrun.training.opening import open_checkpoint
from dlrun.training.plan_making import LARGEST_EVALUATION, make_plan

WIDE = {"architecture": {"name": "mlp", "hidden": [3_000_000]}}


def test_auto_is_at_most_1024_and_fewer_for_a_model_of_large_outputs() -> None:
    assert planned().config.evaluation_batch_size == planned().recipe.evaluation_batch == 1024
    size = planned(**WIDE).recipe.evaluation_batch
    numbers = 2 * 3_000_000 + 3  # a layer, its activation, the outputs
    assert size * numbers <= LARGEST_EVALUATION < 2 * size * numbers
    assert planned(evaluation_batch_size=7).recipe.evaluation_batch == 7
    assert planned(evaluation_batch_size="full").recipe.evaluation_batch > 10**9


def test_what_auto_chose_is_recorded_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(planned(), tmp_path, stop_after=1)
    assert yaml.safe_load(run.config.read_text())["evaluation_batch_size"] == 1024
    assert load_checkpoint(run.last).config["evaluation_batch_size"] == 1024
    monkeypatch.setattr("dlrun.training.plan_making.LARGEST_EVALUATION", 1)  # another rule
    model, saved = open_checkpoint(run.last, run, [], planned().parts, Path("no-data"))
    assert model.plan.recipe.evaluation_batch == 1024
    smaller, _ = open_checkpoint(run.last, run, ["evaluation_batch_size=7"], planned().parts, Path("no-data"))
    figures = [evaluate_run(each, saved, run.last, "test")["loss"] for each in (model, smaller)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)


def test_a_run_of_an_earlier_dlrun_is_evaluated_as_it_was(
    dlrun: Any, tiny: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OF_EARLIER_RUNS["evaluation_batch_size"] == 1024
    assert dlrun("train", tiny, "--stop-after", 2).code == 0
    path = runs_dir / "tiny-001" / "config.yaml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "evaluation_batch" not in line) + "\n")
    monkeypatch.setattr("dlrun.training.plan_making.LARGEST_EVALUATION", 1)
    assert dlrun("resume", "last").code == 0
    assert "evaluation_batch_size: 1024" in path.read_text()
    path.write_text("\n".join(line for line in lines if "evaluation_batch" not in line) + "\n")
    assert "already complete" in dlrun("resume", "last").out


def test_another_size_is_refused_at_resume_because_the_bits_would_be_others(tmp_path: Path) -> None:
    run = trained(planned(), tmp_path, stop_after=1)
    with pytest.raises(Exception, match="another evaluation_batch_size"):
        go_on(run, {"evaluation_batch_size": 7})
    unbroken = trained(planned(evaluation_batch_size=7), tmp_path)
    paused = trained(planned(evaluation_batch_size=7), tmp_path, stop_after=1)
    go_on(paused, {"evaluation_batch_size": 7})
    assert not differences(outcome(unbroken), outcome(paused))


OF_BATCHES = '''
"""A loss of a batch."""
batchwise = True


def whole(outputs, targets):
    """The mean output."""
    return outputs.square().mean()
'''


@pytest.mark.parametrize("size", [30, 512, 1024, "full"])
def test_a_loss_of_batches_is_evaluated_at_no_other_size(size: int | str, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"loss/whole.py": OF_BATCHES})
    for same in ("auto", 20):
        plan = planned(parts, loss="whole", batch_size=20, evaluation_batch_size=same)
        assert plan.config.evaluation_batch_size == plan.recipe.evaluation_batch == 20
    with pytest.raises(ConfigError) as refused:
        planned(parts, loss="whole", batch_size=20, evaluation_batch_size=size)
    assert "evaluated at the batch size of training, 20" in str(refused.value.mistakes[0])


@pytest.mark.parametrize("loss", ["whole", {"name": "whole"}])
def test_an_earlier_run_with_a_loss_of_batches_is_evaluated_as_it_was(loss: Any, tmp_path: Path) -> None:
    parts = own_parts(tmp_path, {"loss/whole.py": OF_BATCHES})
    plan = planned(parts, loss=loss, batch_size=20)
    run = trained(plan, tmp_path)
    earlier = {key: value for key, value in plan.config.plain().items() if key != "evaluation_batch_size"}
    run.write_config(yaml.safe_dump(earlier | {"loss": loss}))
    of_run = load_run_config(run.config, parts=parts)
    assert make_plan(of_run, parts, Path("no-data")).recipe.evaluation_batch == 20
    of_checkpoint = config_from_plain(earlier, "last.pt", parts=parts, is_of_run=True)
    assert make_plan(of_checkpoint, parts, Path("no-data")).recipe.evaluation_batch == 20
