"""A sweep is checked and divided among the cores before its folder exists."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import contents, mostly_slow, own_parts
from small_sweeps import CONFIG, only_sweep

from dlrun.run_folders.sweep_finding import find_sweep, sweeps_in, unbegun_sweeps
from dlrun.sweeps import planning, timing

Dlrun = Callable[..., Any]
HALF = '''
"""Half the rate."""


def half(progress: float) -> float:
    """Half the rate, at any progress."""
    return 0.5
'''
Write = Callable[[str, str], Path]


@pytest.fixture
def config(write: Write) -> Path:
    return write("small.yaml", CONFIG)


def test_a_run_takes_no_more_than_its_share_of_the_cores(
    config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.config.registry import Parts
    from dlrun.sweeps.grid import settings_of_grid
    from dlrun.sweeps.planning import plan_sweep
    from dlrun.system import machine

    monkeypatch.setattr(machine, "cores", lambda: 8)
    chosen = settings_of_grid(
        config, ["architecture.hidden=[8],[3000,3000]", "batch_size=full"], None, None, Parts()
    )
    of_three = plan_sweep(chosen, 3, None, Parts(), Path())
    assert [each.threads for _, each in of_three.runs] == ["auto", "auto", 2, 2]
    of_all = plan_sweep(chosen, None, None, Parts(), Path())
    assert of_all.jobs == 4  # runs, which are fewer than cores
    alone = plan_sweep(chosen, 1, None, Parts(), Path())
    assert {each.threads for _, each in alone.runs} == {"auto"}


def test_mistakes_of_all_settings_are_said_at_once_with_their_places(
    dlrun: Dlrun, write: Write, runs_dir: Path
) -> None:
    path = write("wrong.yaml", CONFIG + "sweep:\n  optimizer.lrate: [1, 2]\n  epochs: [0, 1]\n")
    done = dlrun("sweep", path, "architecture.activation=relu,tnah")
    assert done.code == 2
    assert "3 mistakes" in done.err
    assert f"{path}:11:20 optimizer.lrate: there is no such option; did you mean 'lr'?" in done.err
    assert f"{path}:12:11 epochs: 0 is not a whole number >= 1" in done.err
    assert "on the command line: architecture.activation: 'tnah' is not one of" in done.err
    assert not runs_dir.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("optimizer={name: sgd, lr: 0.5},{name: adam, lr: 0.001}", "optimizer.lr=0.1,0.01"),
        ("optimizer.lr=0.1,0.01", "optimizer={name: sgd, lr: 0.5},{name: adam, lr: 0.001}"),
    ],
)
def test_a_setting_is_never_called_by_a_value_that_it_does_not_have(
    words: tuple[str, ...], dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", config, *words)
    assert done.code == 2
    assert "optimizer.lr: is 0.5 by optimizer, but 0.1 by optimizer.lr: leave it out of one" in done.err
    assert not runs_dir.exists()
    fine = dlrun(
        "sweep", config, "optimizer={name: sgd, lr: 0.5},{name: adam, lr: 0.001}", "epochs=1,2", "--dry-run"
    )
    assert fine.code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a CONFIG, or a sweep to --resume"),
        (("{config}", "--seed", "1"), "No such option"),
        (("{config}", "--seeds", "1"), "there is nothing to sweep"),
        (("{config}", "optimizer.lr"), "is not of the form KEY=VALUES"),
        (("{config}", "optimizer.lr=log(1,2)"), "is a range without a count"),
        (("{config}", "seeds=a,b"), "seeds are whole numbers"),
        (("{config}", "epochs=1,2", "--metric", "nope"), "--metric nope is never measured"),
        (("{config}", "epochs=1,2", "--metric", ""), "is never measured"),
        (("{config}", "epochs=1,2", "epochs=3,4"), "epochs is given twice"),
        (("{config}", "epochs=1,2", "--json", "--quiet"), "--quiet and --json cannot both be given"),
        (("{config}", "epochs=1,2", "--jobs", "0"), "--jobs '0' is not a number of runs"),
        (("{config}", "epochs=1,2", "metrics=[rmse]"), "rmse is for regression"),
        (
            ("{config}", "epochs=1,2", "--resume", "last"),
            "a sweep that goes on has its config",
        ),
        (("--resume", "last", "--device", "cpu"), "--resume continues a sweep as it was begun"),
        (("--resume", "last"), "there is no sweep last"),
        (("{config}", "sweep.epochs=[1]", "epochs=1,2"), "sweep: is allowed only in a config file"),
        (
            (
                *("{config}", "epochs=1,2", "evaluate_train_every=3", "monitor=trainset_loss"),
                *("--metric", "best.trainset_loss"),
            ),
            "there is no best epoch to rank by: trainset_loss is first measured after epoch 3, of 1",
        ),
        (("{config}", "epochs=1,2", "--optuna", "2", "--random", "2"), "--optuna draws the settings itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_swept_is_said_in_five_lines_and_leaves_nothing(
    words: tuple[str, ...], says: str, dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", *(word.format(config=config) for word in words))
    assert done.code == 2
    assert says in done.err
    assert len(done.err.splitlines()) <= 5
    assert not runs_dir.exists()


def test_a_dry_run_says_what_would_be_trained_and_makes_nothing(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    done = dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 4, "--jobs", 2, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "8 runs, 2 at a time: about " in done.out
    assert done.out.count("0 … 3") == 2
    assert not runs_dir.exists()


def test_what_a_finished_run_answers_is_not_trained_again(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    dlrun("train", config, "--seed", 1)
    dlrun("sweep", config, "optimizer.lr=1e-3,2e-2", "--seeds", 1, "--jobs", 1, "--name", "before")
    dlrun("train", config, "--seed", 0, "epochs=5")  # which is another one
    before = contents(runs_dir)
    done = dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 2, "--jobs", 1, "--needed")
    sweep = find_sweep("small-sweep", runs_dir)
    borrowed = [str(t.run.folder.relative_to(runs_dir)) for t in sweep.trials if t.is_borrowed]
    assert done.code == 0
    assert borrowed == ["before-sweep-001/before-001", "small-001"]
    assert len(list(sweep.folder.glob("*/config.yaml"))) == 2
    assert "0.01" in done.out and "0.001" in done.out
    assert before.items() <= contents(runs_dir).items()
    assert (
        sum(int(line.split(",")[3]) for line in (sweep.folder / "results.csv").read_text().splitlines()[1:])
        == 4
    )


def test_students_are_swept_over_their_teachers(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    """They are found by name before the sweep begins; a run answers as long as they are what they were."""
    from dlrun.config.loading import load_run_config
    from dlrun.config.registry import Parts
    from dlrun.training.plan_making import make_plan

    for name in ("large", "wide"):
        assert dlrun("train", config, "--name", name, "--seed", 0, "epochs=1").code == 0
    teachers = "loss={name: kl, teacher: large-001},{name: kl, teacher: wide-001}"
    words = [config, teachers, "epochs=1", "--seeds", 1, "--jobs", 1]
    assert dlrun("sweep", *words).code == 0
    trials = only_sweep(runs_dir).trials
    assert {trial.run.summary()["status"] for trial in trials} == {"finished"}
    found = {trial.run.summary()["teacher"]["source"] for trial in trials}
    assert found == {str(runs_dir / f"{name}-001") for name in ("large", "wide")}
    plan = make_plan(load_run_config(trials[0].run.config, (), Parts()), Parts(), runs_dir)
    assert timing.seconds_of_epoch(plan, plan.load(), 0.01) > 0
    assert dlrun("train", config, "--name", "wide", "--seed", 1, "epochs=1").code == 0
    other, wide = (runs_dir / name / "checkpoints/best.pt" for name in ("wide-002", "wide-001"))
    wide.write_bytes(other.read_bytes())
    assert dlrun("sweep", *words, "--needed", "--name", "again").code == 0
    assert [trial.is_borrowed for trial in find_sweep("again", runs_dir).trials] == [True, False]


def test_a_range_is_of_whole_numbers_where_its_key_is(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    words = ["batch_size=log(8,32,3)", "dataset.points=linspace(30,40,2)", "optimizer.lr=log(1,100,3)"]
    done = dlrun("sweep", config, *words, "--dry-run")
    assert (done.code, done.err) == (0, "")
    rows = [line.split()[:3] for line in done.out.splitlines() if line.strip().startswith(("8", "16", "32"))]
    assert len(rows) == 18
    assert rows[:4] == [["8", "30", "1.0"], ["8", "30", "10.0"], ["8", "30", "100.0"], ["8", "40", "1.0"]]
    refused = dlrun("sweep", config, "batch_size=8,16.5", "--dry-run")
    assert (refused.code, "batch_size: 16.5 is not" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        ([], "best.valid_accuracy"),
        (["monitor=train_loss"], "best.train_loss"),
        (["dataset.valid_fraction=0"], "best.train_accuracy"),
        (["metrics=[]"], "best.valid_loss"),
        (["evaluate_every=9"], "valid_accuracy"),  # there is no best epoch, but there is a last one
    ],
)
def test_a_sweep_is_ranked_by_the_best_epoch_and_never_silently_by_the_test_set(
    words: list[str], metric: str, dlrun: Dlrun, config: Path
) -> None:
    done = dlrun("sweep", config, *words, "optimizer.lr=1e-3,1e-2", "--seeds", 1, "--dry-run")
    assert f"ranked by {metric}" in done.out.splitlines()


def test_all_that_is_said_of_a_sweep_is_said_by_one_figure(
    dlrun: Dlrun, config: Path, runs_dir: Path
) -> None:
    words = ["optimizer.lr=1e-3,1e-2", "--seeds", 1, "--jobs", 1, "--metric", "best.valid_loss"]
    done = dlrun("sweep", config, *words)
    assert done.out.count("finished, best.valid_loss 1.") == 2
    heads = [line for line in done.out.splitlines() if "best.valid_loss" in line and "seeds" in line]
    assert len(heads) == 1
    for text in ("last", "small-sweep", str(only_sweep(runs_dir).folder)):
        assert dlrun("compare", text, "--json").out.startswith('{"metric": "best.valid_loss"')
    dlrun("train", config, "--seed", 0)
    assert '"metric": "valid_accuracy"' in dlrun("compare", "small-sweep", "small-001", "--json").out


@pytest.mark.parametrize("is_faster", [True, False])
def test_seeds_train_as_one_model_where_a_trial_finds_that_faster(
    is_faster: bool, dlrun: Dlrun, config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.training.plan import Plan

    asked = []

    def seconds(plan: Plan, *_: object) -> float:
        asked.append(plan.config.is_stacked)
        # of 2 settings with 4 seeds, 2 at a time: 4 rounds of one seed, or a single one of all
        return (3.9 if is_faster else 4.1) if plan.config.is_stacked else 1.0

    monkeypatch.setattr(timing, "seconds_of_epoch", seconds)
    words = ["optimizer.lr=1e-3,1e-2", "epochs=1", "--seeds", 4, "--jobs", 2]
    assert dlrun("sweep", config, *words, "architecture.dropout=0", "--stack").code == 0
    assert [len(trial.seeds) for trial in only_sweep(runs_dir).trials] == ([4, 4] if is_faster else [1] * 8)
    assert asked == [False, True]  # once: a rate makes no step longer


def test_seeds_that_are_others_as_one_model_train_apart(
    dlrun: Dlrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.config.mistakes import ConfigError
    from dlrun.training.plan import Plan

    monkeypatch.setattr(timing, "seconds_of_epoch", lambda plan, *_: 1e-3 ** len(plan.config.seeds))
    words = ["optimizer.lr=1e-3,1e-2", "--seeds", 2, "--stack", "--dry-run"]
    assert dlrun("sweep", config, *words).out.count("as one model") == 2

    def refuse(plan: Plan, loaded: object, progress: object = None) -> None:
        if plan.config.is_stacked:
            raise ConfigError("small.yaml", [plan.config.mistake("stacked", "they differ")])

    monkeypatch.setattr(planning, "try_on", refuse)
    apart = dlrun("sweep", config, *words)
    assert (apart.code, apart.out.count("as one model")) == (0, 0)


def test_the_time_is_that_of_each_kind_of_run(
    dlrun: Dlrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.training.plan import Plan

    def seconds(plan: Plan, *_: object) -> float:
        return 10.0 if plan.config.architecture.options["hidden"] == [4] else 20.0

    monkeypatch.setattr(timing, "seconds_of_epoch", seconds)
    words = ["architecture.hidden=[4],[5]", "optimizer.lr=1e-3,1e-2", "epochs=2", "--jobs", 2, "--dry-run"]
    done = dlrun("sweep", config, *words, "--seeds", 1)
    assert "4 runs, 2 at a time: about 1:00 min of training" in done.out
    assert "by the first steps of 2 settings" in done.out
    assert "of 2 settings" in dlrun("sweep", config, "precision=float32,bfloat16", "--dry-run").out


def test_a_sweep_has_all_its_runs_or_was_never_begun(
    dlrun: Dlrun, config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.run_folders.sweep_folder import Sweep

    add = Sweep.add

    def killed(sweep: Sweep, *arguments: Any) -> Any:
        if len(sweep.trials) == 3:
            raise KeyboardInterrupt
        return add(sweep, *arguments)

    monkeypatch.setattr(Sweep, "add", killed)
    dlrun("sweep", config, "optimizer.lr=1e-3,1e-2", "--seeds", 2)
    assert sweeps_in(runs_dir) == []
    assert [folder.name for folder in unbegun_sweeps(runs_dir)] == ["small-sweep-001"]


@pytest.mark.parametrize("change", mostly_slow(["data", "code", "torch", "threads"], "data", "code"))
def test_a_run_of_other_data_code_or_threads_answers_nothing(
    change: str, dlrun: Dlrun, config: Path, runs_dir: Path, tmp_path: Path
) -> None:
    words = ["optimizer.lr=1e-3,1e-2", "epochs=1", "--seeds", 1, "--jobs", 1]
    dlrun("sweep", config, *words, "--name", "before")
    for trial in only_sweep(runs_dir).trials:
        summary = trial.run.summary()
        changes = {
            "data": {"data": summary["data"] | {"fingerprint": "another"}},
            "code": {"code": "another"},
            "torch": {"versions": summary["versions"] | {"torch": "1.0"}},
            "threads": {},
        }
        trial.run.write_json("summary.json", summary | changes[change])
        if change == "threads":
            trial.run.config.write_text(trial.run.config.read_text().replace("threads: auto", "threads: 1"))
    dlrun("sweep", config, *words, "--name", "after", "--needed")
    assert [trial.is_borrowed for trial in find_sweep("after", runs_dir).trials] == [False, False]


def test_own_parts_answer_as_long_as_nobody_changed_them(
    dlrun: Dlrun, config: Path, runs_dir: Path, tmp_path: Path
) -> None:
    own = own_parts(tmp_path, {"schedule/half.py": HALF}).folder
    words = ["schedule=half", "epochs=1,2", "--seeds", 1, "--jobs", 1, "--parts", own]
    dlrun("sweep", config, *words, "--name", "before")
    dlrun("sweep", config, *words, "--name", "same", "--needed")
    assert all(trial.is_borrowed for trial in find_sweep("same", runs_dir).trials)
    (own / "schedule" / "half.py").write_text(HALF.replace("0.5", "0.6"))
    dlrun("sweep", config, *words, "--name", "other", "--needed")
    assert not any(trial.is_borrowed for trial in find_sweep("other", runs_dir).trials)


def test_what_own_parts_import_answers_as_long_as_nobody_changed_it(
    dlrun: Dlrun, config: Path, runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "factor_of_half.py").write_text("FACTOR = 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    half = "from factor_of_half import FACTOR\n" + HALF.replace("0.5", "FACTOR")
    own = own_parts(tmp_path, {"schedule/half.py": half}).folder
    words = ["schedule=half", "epochs=1,2", "--seeds", 1, "--jobs", 1, "--parts", own]
    dlrun("sweep", config, *words, "--name", "before")
    dlrun("sweep", config, *words, "--name", "same", "--needed")
    assert all(trial.is_borrowed for trial in find_sweep("same", runs_dir).trials)
    (tmp_path / "factor_of_half.py").write_text("FACTOR = 0.6\n")
    dlrun("sweep", config, *words, "--name", "other", "--needed")
    assert not any(trial.is_borrowed for trial in find_sweep("other", runs_dir).trials)


def test_what_cannot_be_named_answers_nothing(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    words = ["optimizer.lr=1e-3,1e-2", "epochs=1", "--seeds", 1, "--jobs", 1]
    dlrun("sweep", config, *words, "--name", "n" * 64)
    dlrun("train", config, "epochs=1", "--seed", 1, "--name", "plain")
    (runs_dir / "plain-001").rename(runs_dir / "good")
    done = dlrun("sweep", config, *words, "--needed", "--seeds", 2)
    assert (done.code, done.err) == (0, "")
    borrowed = [trial.is_borrowed for trial in find_sweep("small", runs_dir).trials]
    assert borrowed == [True, False, True, False]


def test_what_is_made_is_neither_pruned_nor_deleted(
    dlrun: Dlrun, config: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.run_folders.sweep_folder import Sweep

    add, seen = Sweep.add, list[tuple[int, int]]()

    def pruned(sweep: Sweep, *arguments: Any) -> Any:
        codes = dlrun("runs", "--prune", "--yes").code, dlrun("rm", sweep.name, "--yes").code
        seen.append(codes)
        return add(sweep, *arguments)

    monkeypatch.setattr(Sweep, "add", pruned)
    assert dlrun("sweep", config, "epochs=1,2", "--seeds", 1, "--jobs", 1).code == 0
    assert [prune for prune, _ in seen] == [0, 0]
    assert all(rm for _, rm in seen)
    assert len(only_sweep(runs_dir).trials) == 2


def test_the_time_of_an_epoch_is_that_of_its_steps_and_one_evaluation(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlrun.config.loading import load_config
    from dlrun.config.registry import Parts
    from dlrun.sweeps.timing import seconds_of_epoch
    from dlrun.training.plan_making import make_plan

    now = 0.0

    def fit(state: Any, loaded: Any, recipe: Any, hardware: Any, watch: Any) -> Any:
        nonlocal now
        for _ in range(5):
            for index, _ in enumerate(watch(iter(range(30)))):
                now += 5.0 if index == 0 else 0.1
            now += 2.0  # the evaluation
            yield {}

    monkeypatch.setattr(timing, "fit", fit)
    monkeypatch.setattr(timing.time, "monotonic", lambda: now)
    plan = make_plan(load_config(config, ["batch_size=4"]), Parts(), Path())
    loaded = plan.load()
    count = -(-len(loaded["train"]) // 4)
    for longest in (0.45, 2.0):  # too short for an epoch
        now = 0.0
        assert seconds_of_epoch(plan, loaded, longest) == pytest.approx(count * 0.1 + 2.0)


def test_a_dry_run_says_what_is_answered_and_speaks_json(dlrun: Dlrun, config: Path, runs_dir: Path) -> None:
    words = ["optimizer.lr=1e-3,1e-2", "epochs=1", "--jobs", 1]
    dlrun("sweep", config, *words, "--seeds", 1)
    asked = ["sweep", config, *words, "--seeds", 3, "--needed", "--dry-run"]
    assert "6 runs, 2 of them replaced by finished runs, 1 at a time" in dlrun(*asked).out
    found = json.loads(dlrun(*asked, "--json").out)
    assert (found["runs"], found["answered"], found["metric"]) == (6, 2, "best.valid_accuracy")
    assert dlrun(*asked, "--quiet").out == ""
    of_all = json.loads(dlrun("sweep", config, *words, "--seeds", 1, "--needed", "--dry-run", "--json").out)
    assert (of_all["answered"], of_all["seconds"], of_all["tried"]) == (2, 0, 0)


def test_of_a_mistake_is_said_where_it_stands_and_which_values_lead_to_it(dlrun: Dlrun, write: Write) -> None:
    path = write("small.yaml", CONFIG + "sweep:\n  optimizr.wd: [1, 2]\n")
    assert f"{path}:11:16 optimizr: there is no such key" in dlrun("sweep", path).err
    plain = write("plain.yaml", CONFIG)
    done = dlrun("sweep", plain, "optimizer={name: adam, lr: 0.1},{name: sgd}")
    assert (
        'the option lr is missing: a number >= 0, such as optimizer.lr=0.1 (with optimizer={"name": "sgd"})'
        in " ".join(done.err.split())
    )
    flow = write("flow.yaml", CONFIG + "sweep: {optimizer.lr: log(1e-4,1e-1,3)}\n")
    assert "a text with a comma or bracket in it in quotes" in dlrun("sweep", flow).err


def test_a_config_with_a_sweep_says_so_where_it_trains_alone(dlrun: Dlrun, write: Write) -> None:
    path = write("small.yaml", CONFIG + "sweep: {epochs: [1, 2]}\n")
    assert "the values under sweep: are only for dlrun sweep" in dlrun("train", path, "epochs=1").err
    assert dlrun("train", path, "epochs=1", "--quiet").err == ""


def test_a_mistake_is_said_before_pytorch_is_imported(config: Path) -> None:
    program = (
        "import sys\n"
        "from dlrun.console.commands.app import main\n"
        f"sys.argv = ['dlrun', 'sweep', {str(config)!r}, 'optimizer.lrate=1,2']\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stdout) == (2, "False\n")
