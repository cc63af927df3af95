"""Plan a sweep before its folder exists: check every run, share the cores, choose the ranking metric."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlrun.config.dumping import dump_config
from dlrun.config.keys import Config, flat_config, identifies
from dlrun.config.mistakes import ConfigError, Mistake
from dlrun.config.registry import Parts
from dlrun.data.loaded import Loaded
from dlrun.errors import UserError, nearest, shortened
from dlrun.run_folders.comparison import is_higher_better
from dlrun.run_folders.records import Record, at
from dlrun.run_folders.run import Run
from dlrun.run_folders.sweep_folder import BASE, Sweep, created_sweep
from dlrun.sweeps import timing
from dlrun.sweeps.base import SweepBase
from dlrun.sweeps.grid import Setting, with_share
from dlrun.sweeps.ray_cluster import Cluster
from dlrun.sweeps.search import SearchSpace
from dlrun.sweeps.timing import takes_as_long
from dlrun.sweeps.values import identity_of
from dlrun.system import machine
from dlrun.system.files import write_atomically
from dlrun.system.progress import Progress, no_progress
from dlrun.tracking.trackers import refuse_missing
from dlrun.training.devices import dealt_cards, versions
from dlrun.training.plan import Plan
from dlrun.training.plan_making import make_plan
from dlrun.training.plan_trials import try_on
from dlrun.training.teachers import digest_of_teacher, with_runs_found
from dlrun.training.weights_file import digest_of_weights

LONGEST_STACKING_TRIAL = 0.5  # seconds for timing seeds apart, and as many for timing them stacked


@dataclass(frozen=True)
class SweepPlan:
    """A sweep before its folder exists: its settings, how many runs train at once, and the ranking metric."""

    settings: list[Setting]
    jobs: int
    metric: str
    plan: Plan  # of the first run
    loaded: Loaded  # its data
    data_dir: Path
    space: SearchSpace | None = None  # of a search: the space from which `times` settings are drawn
    times: int = 1
    is_usual: bool = False  # nobody chose the metric
    has_chosen_jobs: bool = False  # the user did
    of_ray: dict[str, int] = field(default_factory=dict)  # for sweep.json: the CPUs that a run asks for

    @property
    def without_validation(self) -> str:
        """A note if the ranking is by figures of training examples that nobody chose; "" if it is not."""
        split = self.metric.removeprefix("best.").split("_")[0]
        if split != "train" or not self.is_usual or self.plan.config.monitor:
            return ""
        return self.plan.without_validation(["the ranking"], self.metric)

    @property
    def runs(self) -> list[tuple[dict[str, Any], Config]]:
        """For each run its values and its config."""
        return [(setting.values, config) for setting in self.settings for config in setting.configs]

    def make(self, parent: Path, finished: Sequence[Record] = (), base: SweepBase | None = None) -> Sweep:
        """Create the sweep's folder with a folder for each run, which holds its resolved config.

        If one of the `finished` runs was trained from the same config by the same code on the same data, it
        takes the place of a new run. A search has no runs yet, only the base config; any other sweep can grow
        if it has a `base`.
        """
        if self.space:
            return self._make_search(parent, self.space)
        with self._created(parent) as sweep:
            if base:
                base.located([setting.configs[0] for setting in self.settings]).keep(sweep)
            self.add_runs(sweep, finished)
        return sweep

    def add_runs(
        self, sweep: Sweep, finished: Sequence[Record] = (), there: Collection[tuple[str, int]] = ()
    ) -> None:
        """Add the runs to a sweep, with their folders; the caller writes sweep.json.

        Left out are those whose values, by `identity_of`, and seeds are `there`.
        """
        for (values, config), run in zip(self.runs, self.answered(finished), strict=True):
            if all((identity_of(values), seed) in there for seed in config.seeds):
                continue
            if run:
                sweep.borrow(values, run, config)
            else:
                sweep.add(values, config)

    def _created(self, parent: Path, **more: Any) -> AbstractContextManager[Sweep]:
        """The context in which the sweep's folder is created, and which writes its sweep.json."""
        plan = self.plan
        known = {"higher_is_better": is_higher_better(self.metric, plan.parts)} | more | self.of_ray
        known |= {"chosen_jobs": True} if self.has_chosen_jobs else {}
        name, device = plan.config.name, plan.config.device
        return created_sweep(parent, name, jobs=self.jobs, metric=self.metric, device=device, **known)

    def answered(self, finished: Sequence[Record]) -> list[Run | None]:
        """For each run the `finished` run that can take its place, or None."""
        if not finished:
            return [None] * len(self.runs)
        answers = {_asked(each.config, each.summary): each.run for each in finished}
        fingerprints = {repr(self.plan.config.dataset): self.loaded.fingerprint}
        found = list[Run | None]()
        for _, config in self.runs:
            if (data := repr(config.dataset)) not in fingerprints:
                plan = make_plan(config, self.plan.parts, self.data_dir)
                fingerprints[data] = plan.load().fingerprint
            now = {
                "data": {"fingerprint": fingerprints[data]},
                "versions": versions(),
                "code": self.plan.parts.code,
                "weights": {"sha256": digest_of_weights(config, self.plan.parts, self.data_dir)},
                "teacher": {"sha256": digest_of_teacher(config, self.plan.parts)},
            }
            found.append(answers.get(_asked(flat_config(config.plain()), now)))
        return found

    def _make_search(self, parent: Path, space: SearchSpace) -> Sweep:
        plan = self.plan
        search = space.plain() | {
            "count": self.times,
            "examples": len(self.loaded["train"]),
            "higher_is_better": plan.better[plan.monitor.split("_", 1)[1]] == "higher",
        }
        [setting] = self.settings
        text = dump_config(replace(setting.configs[0], seeds=space.base.seeds)).encode()
        with self._created(parent, search=search) as sweep:
            write_atomically(sweep.folder / BASE, lambda file: file.write(text))
        return sweep


def plan_sweep(
    chosen: list[Setting],
    jobs: int | None,
    metric: str | None,
    parts: Parts,
    data_dir: Path,
    progress: Progress = no_progress,
    *,
    space: SearchSpace | None = None,
    times: int = 1,
    may_stack: bool = False,
    runs_dir: Path = Path("runs"),
    jobs_per_gpu: int | None = None,
    cluster: Cluster | None = None,
    beside: int = 0,
) -> SweepPlan:
    """Check everything that can be checked before a folder exists, and share the cores among the runs.

    Without `jobs` as many runs train at once as there are cores, or `jobs_per_gpu`, else one, on each GPU;
    never more than there are runs, `beside` those that a sweep has already, which for a search of `space`
    are those of `times` settings. A run takes
    at most its share of the cores; if that is less than it would take alone, its config says so. The cores
    and GPUs are those of a `cluster`, if there is one; a run then takes the same number of threads on any of
    its nodes. With `may_stack` the seeds of a setting train as one model if timing a few steps shows that the
    sweep ends sooner. The default `metric` is the monitored column if the config names one, else the first
    metric on the validation or training split: in the best epoch, or if some runs have none, in the last.

    Raises ConfigError with the mistakes of all settings, UserError for a `metric` that is not measured.
    """
    plans, mistakes = list[Plan](), dict[Mistake, None]()
    for setting in chosen:
        try:
            refuse_missing(setting.configs[0])
            found = with_runs_found(setting.configs[0], parts, runs_dir)
            plans.append(make_plan(found, parts, data_dir))
        except ConfigError as error:
            mistakes |= dict.fromkeys(error.mistakes)
        config = setting.configs[0]
        if config.processes not in (1, "auto"):
            what = "each run of a sweep trains in one process; several run at once by --jobs"
            mistakes[config.mistake("processes", what, "set processes: 1")] = None
    source = chosen[0].configs[0].tree.place.source
    if mistakes:
        raise ConfigError(source, list(mistakes))
    is_usual = metric is None
    without_best = next((plan for plan in plans if plan.monitor_every > plan.config.epochs), None)
    if metric is None:
        usual = plans[0].monitor if space else _usual_column(plans[0])
        metric = f"best.{usual}" if space or not without_best else usual
    columns = [*plans[0].recipe.columns(), *(f"best.{column}" for column in plans[0].recipe.columns())]
    if metric not in (*columns, "seconds"):
        raise UserError(f"--metric {shortened(metric)} is never measured{nearest(metric, columns)}")
    if metric.startswith("best.") and without_best:
        when = f"epoch {without_best.monitor_every}, of {without_best.config.epochs}"
        what = f"there is no best epoch to rank by: {without_best.monitor} is first measured after {when}"
        raise UserError(what, fix="measure it more often, or train for longer")
    loaded = plans[0].load(progress=progress)
    for plan in plans:
        if plan.config.dataset == plans[0].config.dataset:
            try:
                try_on(plan, loaded, progress)
            except ConfigError as error:
                mistakes |= dict.fromkeys(error.mistakes)
    if mistakes:
        raise ConfigError(source, list(mistakes))
    if cluster:
        cluster = cluster.of(plans[0].config.device)
        at_once = jobs or cluster.at_once(plans[0].config.device, jobs_per_gpu)
    else:
        at_once = jobs or runs_at_once(plans[0], jobs_per_gpu)
    has_chosen_jobs = jobs is not None
    jobs = min(at_once, beside + times * sum(len(setting.configs) for setting in chosen))
    share = cluster.share(jobs) if cluster else max(1, machine.cores() // jobs)
    alone = [plan.threads(len(loaded["train"]), share + 1 if cluster else None) for plan in plans]
    located = [
        [
            replace(
                config,
                dataset=plan.config.dataset,
                architecture=plan.config.architecture,
                loss=plan.config.loss,
                evaluation_batch_size=plan.config.evaluation_batch_size,
                notes=plan.config.notes,
            )
            for config in setting.configs
        ]
        for setting, plan in zip(chosen, plans, strict=True)
    ]
    fitted = [
        Setting(setting.values, with_share(of_seeds, threads, share))
        for setting, of_seeds, threads in zip(chosen, located, alone, strict=True)
    ]
    if may_stack:
        fitted = _stacked_where_faster(fitted, plans, loaded, jobs, share, times, data_dir)
        jobs = min(jobs, beside + times * sum(len(setting.configs) for setting in fitted))
    first = make_plan(fitted[0].configs[0], parts, data_dir)
    of_ray = dict[str, int]()
    if cluster:
        of_ray["cpus"] = share if space else min(share, max(alone))
        of_ray |= {"runs_per_gpu": jobs_per_gpu} if jobs_per_gpu else {}
    return SweepPlan(
        fitted,
        jobs,
        metric,
        first,
        loaded,
        data_dir,
        space,
        times,
        is_usual,
        has_chosen_jobs,
        of_ray,
    )


def runs_at_once(plan: Plan, per_gpu: int | None) -> int:
    """The number of runs that train at once by default: one for each core, or `per_gpu` for each GPU.

    Raises UserError for `per_gpu` if they train elsewhere.
    """
    if per_gpu or plan.device.type == "cuda":
        return runs_on_gpus(plan.config.device, per_gpu or 1)
    return machine.cores() if plan.device.type == "cpu" else 1


def runs_on_gpus(device: str, per_gpu: int) -> int:
    """The number of runs that train at once, so many on each GPU that a config's `device` allows."""
    gpus = len(dealt_cards(device)) or int(device.startswith("cuda:"))
    if not gpus:
        raise UserError(
            f"the runs train on no GPU: device is {device}", where="--jobs-per-gpu", fix="take --jobs"
        )
    return gpus * per_gpu


def jobs_of_shard(sweep: Sweep) -> int:
    """The number of runs of a shard that train at once: one on each GPU here, or at most one a core."""
    return len(dealt_cards(sweep.device)) or min(sweep.jobs, machine.cores())


def _stacked_where_faster(
    chosen: list[Setting],
    plans: list[Plan],
    loaded: Loaded,
    jobs: int,
    share: int,
    times: int,
    data_dir: Path,
) -> list[Setting]:
    """The settings, with `stacked: true` for those whose stacking makes the whole sweep end sooner."""
    rounds_apart = -(-times * sum(len(setting.configs) for setting in chosen) // jobs)
    rounds_stacked = -(-times * len(chosen) // jobs)
    tried, found = dict[str, bool](), list[Setting]()
    for setting, plan in zip(chosen, plans, strict=True):
        apart, found = setting.configs[0], [*found, setting]
        if len(setting.configs) == 1 or apart.dataset != plans[0].config.dataset:
            continue
        config = replace(apart, seeds=[each.seeds[0] for each in setting.configs], stacked=True)
        try:
            together = make_plan(config, plan.parts, data_dir)
            try_on(together, loaded)
        except ConfigError:  # stacked seeds would differ from seeds apart
            continue
        [config] = with_share([config], together.threads(len(loaded["train"])), share)
        if (alike := takes_as_long(config)) not in tried:
            alone, stacked = (
                timing.seconds_of_epoch(make_plan(each, plan.parts, data_dir), loaded, LONGEST_STACKING_TRIAL)
                for each in (apart, config)
            )
            tried[alike] = stacked * rounds_stacked < alone * rounds_apart
        if tried[alike]:
            found[-1] = Setting(setting.values, [config])
    return found


def _usual_column(plan: Plan) -> str:
    """The default ranking metric; never one of the test set."""
    split = "valid" if plan.recipe.evaluation_split == "valid" else "train"
    first = next((f"{split}_{choice.name}" for choice in plan.config.metrics), f"{split}_loss")
    return plan.config.monitor or first


def _asked(config: dict[str, Any], summary: dict[str, Any]) -> str:
    """Everything that a run's figures depend on, as text: equal texts mean equal figures."""
    known = {key: value for key, value in config.items() if identifies(key)}
    fingerprint, torch = at(summary, "data", "fingerprint"), at(summary, "versions", "torch")
    begun, teacher = (at(summary, entry, "sha256") for entry in ("weights", "teacher"))
    return repr([sorted(known.items()), fingerprint, torch, summary.get("code"), begun, teacher])
