"""The words that a shell offers when Tab is pressed: configs, runs, keys, names of parts, choices, columns.

PyTorch is not imported, for a shell waits; a config that cannot be read offers its keys alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dlrun.console.commands.folders import each_once

if TYPE_CHECKING:
    from dlrun.config.registry import Parts
    from dlrun.config.strict_yaml import Located

DEVICES = ("auto", "cpu", "cuda", "mps")


def complete_config(incomplete: str) -> list[str]:
    from glob import escape, glob

    from dlrun.config.lookup import shipped_names, shipped_sweeps

    here = glob(f"{escape(incomplete)}*.yaml")  # noqa: PTH207, Path.glob takes no absolute pattern
    return [*here, *_beginning(incomplete, (*shipped_names(), *shipped_sweeps()))]


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs, the best run of each sweep, and behind the name of a sweep its runs."""
    from dlrun.run_folders.listing import names_in

    sweep, slash, begun = incomplete.rpartition("/")
    if slash:
        inside = (f"{sweep}/{name}" for each in _runs_dirs(ctx) for name in names_in(each / sweep, begun))
        return _beginning(incomplete, [f"{sweep}/best", *inside] if sweep in _sweeps(ctx, sweep) else inside)
    runs = (name for folder in _runs_dirs(ctx) for name in names_in(folder, begun))
    best = (f"{name}/best" for name in _sweeps(ctx, begun))
    return [*_beginning(incomplete, ["last"]), *runs, *best]


def complete_sweep(ctx: typer.Context, incomplete: str) -> list[str]:
    return _sweeps(ctx, incomplete)


def complete_run_or_sweep(ctx: typer.Context, incomplete: str) -> list[str]:
    from dlrun.run_folders.listing import names_in

    if "/" in incomplete:
        return complete_run(ctx, incomplete)
    runs = (name for folder in _runs_dirs(ctx) for name in names_in(folder, incomplete))
    return [*_beginning(incomplete, ["last"]), *runs, *_sweeps(ctx, incomplete)]


def _sweeps(ctx: typer.Context, begun: str) -> list[str]:
    """The names of the sweeps that begin so."""
    from dlrun.run_folders.listing import names_in
    from dlrun.run_folders.locating import is_sweep_folder

    return [name for folder in _runs_dirs(ctx) for name in names_in(folder, begun, is_sweep_folder)]


def complete_kind(incomplete: str) -> list[str]:
    from dlrun.config.registry import FOLDERS

    return _beginning(incomplete, FOLDERS)


def complete_kind_or_part(ctx: typer.Context, incomplete: str) -> list[str]:
    from dlrun.config.registry import FOLDERS

    parts = _parts(ctx)
    kind, dot, _ = incomplete.partition(".")
    if dot and kind in FOLDERS:
        return _beginning(incomplete, [f"{kind}.{name}" for name in parts.names(kind)])
    return _beginning(incomplete, [*FOLDERS, *(name for each in FOLDERS for name in parts.names(each))])


def complete_device(incomplete: str) -> list[str]:
    return _beginning(incomplete, DEVICES)


def complete_column(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, _columns(_parts(ctx)))


def complete_metric(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, _parts(ctx).names("metrics"))


def complete_plot(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of plots, or behind a point the options of one."""
    parts = _parts(ctx)
    name, point, _ = incomplete.partition(".")
    if not point:
        return _beginning(incomplete, parts.names("plots"))
    known = parts.part("plots", name).options if name in parts.names("plots") else ()
    return _beginning(incomplete, [f"{name}.{option}=" for option in known])


def complete_override(ctx: typer.Context, incomplete: str) -> list[str]:
    """The keys of a config with `=` behind them, or the values of a key.

    Bash breaks a word at its equals sign: what stands before is then a word of its own.
    """
    words = [*(ctx.params.get("overrides") or ctx.params.get("values") or ())]
    if words[-1:] == ["="] and len(words) > 1:
        return _values(ctx, words[-2], incomplete)
    if words and "=" not in words[-1] and not incomplete:  # Click makes an equals sign alone nothing
        return _values(ctx, words[-1], "")
    key, equals, begun = incomplete.partition("=")
    if equals:
        return [f"{key}={value}" for value in _values(ctx, key, begun)]
    from dlrun.config.keys import KEYS
    from dlrun.config.unknown_keys import chosen_parts

    parts, tree = _parts(ctx), _tree(ctx)
    chosen = chosen_parts(tree, parts)
    options = (f"{kind}.{option}=" for kind, part in chosen.items() for option in part.options | part.common)
    return _beginning(incomplete, [*(f"{key}=" for key in KEYS), *options])


def _values(ctx: typer.Context, key: str, begun: str) -> list[str]:
    """The values of a key that begin with `begun`, if it has a few."""
    from dlrun.config.keys import KEYS, TEACHER_KEY, WEIGHTS, key_types
    from dlrun.config.registry import FOLDERS

    parts, (kind, _, option) = _parts(ctx), key.partition(".")
    if kind in FOLDERS and option in ("", "name"):
        return _beginning(begun, parts.names(kind))
    if key == "device":
        return complete_device(begun)
    if key == "monitor":
        return _beginning(begun, _columns(parts))
    if key in (WEIGHTS, TEACHER_KEY):
        return complete_run(ctx, begun)
    if option:
        from dlrun.config.unknown_keys import chosen_parts

        part = chosen_parts(_tree(ctx), parts).get(kind)
        known = part.options.get(option) if part else None
        return _beginning(begun, _choices(known.type)) if known else []
    return _beginning(begun, _choices(key_types()[key])) if key in KEYS else []


def _choices(kind: Any) -> list[str]:
    from dlrun.config.option_types import choices_of, takes_bool

    return [*choices_of(kind), *(("true", "false") if takes_bool(kind) else ())]


def _columns(parts: Parts) -> list[str]:
    from dlrun.config.keys import SPLITS

    columns = [f"{split}_{figure}" for split in SPLITS for figure in ("loss", *parts.names("metrics"))]
    return [*columns, *(f"best.{column}" for column in columns), "seconds"]


def _tree(ctx: typer.Context) -> Located:
    """The config that is named on the command line, or the run's; empty if it cannot be read."""
    from dlrun.config.loading import read_config
    from dlrun.config.lookup import find_config
    from dlrun.config.strict_yaml import parse
    from dlrun.errors import UserError

    with suppress(UserError, OSError):
        if config := ctx.params.get("config"):
            return read_config(find_config(str(config)))
        if run := ctx.params.get("run"):
            from dlrun.run_folders.finding import find_run

            return read_config(find_run(str(run), _runs_dirs(ctx)[0]).config)
    return parse("", "", has_lines=False)


def _parts(ctx: typer.Context) -> Parts:
    from dlrun.config.registry import Parts
    from dlrun.errors import UserError

    with suppress(UserError, OSError):
        return Parts(ctx.params.get("parts"))
    return Parts()


def _runs_dirs(ctx: typer.Context) -> list[Path]:
    """The folders of runs: some commands take several."""
    given = ctx.params["runs_dir"]
    return [Path(given)] if isinstance(given, str | Path) else each_once(given)


def _beginning(begun: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(begun)]
