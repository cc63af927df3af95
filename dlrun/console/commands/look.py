"""`dlrun data`, `show`, `configs` and `parts`: inspect data, models, configs and parts without training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlrun.console.commands.arguments import (
    ConfigName,
    DataDir,
    Device,
    Json,
    OptionalConfigName,
    Overrides,
    PartsDir,
    Plain,
    RunsDir,
    expanded,
    known_kind,
    parts_named,
    parts_of,
    progress_unless,
    warn_of_notes,
    with_options,
)
from dlrun.console.commands.completion import complete_kind_or_part
from dlrun.console.commands.evaluate import draw_all
from dlrun.console.commands.folders import DATA, RUNS
from dlrun.errors import UserError

if TYPE_CHECKING:
    from dlrun.config.keys import Config
    from dlrun.config.plain_reference import OptionsOf
    from dlrun.config.reference import KeyReference, KindReference, Reference
    from dlrun.config.registry import Part, Parts
    from dlrun.results.table_columns import TableFacts


def preview(
    config: OptionalConfigName = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=expanded,
            help="The folder for the pictures (default: previews/NAME in the runs folder).",
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=expanded,
            help="Write a CSV file that says in which split each example is.",
        ),
    ] = None,
    clear_cache: Annotated[
        bool,
        typer.Option(
            "--clear-cache",
            help="Delete all decoded images and parsed tables in the data folder; needs no CONFIG.",
        ),
    ] = False,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    plain: Plain = False,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
) -> None:
    """Show a config's dataset: shapes, classes, balance, columns, ranges, warnings, pictures."""
    if clear_cache:
        _clear_cache(data_dir)
    if config is None:
        if clear_cache:
            return
        raise UserError("no config is given", where="command line", fix="dlrun data CONFIG")
    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config

    own_parts = parts_of(parts)
    checked = load_config(find_config(config), with_options(overrides, device="cpu"), own_parts)
    from dlrun.console.dataset import print_columns, print_dataset, print_preview
    from dlrun.console.streams import say_json
    from dlrun.results.preview import dataset_facts
    from dlrun.results.split_list import write_split_list
    from dlrun.results.table_columns import given_options, lag_facts, table_facts
    from dlrun.system.files import ANOTHER_OUT, make_folder
    from dlrun.system.strict_json import finite
    from dlrun.training.plan_data import with_paths
    from dlrun.training.plan_making import make_plan
    from dlrun.training.suitability import suitable_plots
    from dlrun.training.teachers import with_runs_found
    from dlrun.training.trained import Trained

    checked = with_paths(checked, own_parts, data_dir)
    table = table_facts(checked.dataset, data_dir)
    try:
        checked = with_runs_found(checked, own_parts, runs_dir)
        plan = make_plan(checked, own_parts, data_dir)
    except UserError:
        if not json:
            _show_data_alone(checked, own_parts, data_dir, table)
        raise
    loaded = plan.load(progress=progress_unless(quiet=json))
    if table:
        table.columns.extend(lag_facts(plan.data, loaded.splits))
    if split:
        write_split_list(split, plan.data, loaded)
    found = dataset_facts(plan, loaded)
    warn_of_notes([checked])
    if json:
        say_json(finite(found | ({"table": table.plain()} if table else {})))
        return
    print_preview(found if table is None else found | {"features": {}})
    if table:
        print_columns(table.columns)
        guessed = {key: each for key, each in plan.data.guessed.items() if each}
        print_dataset(checked.dataset.name, given_options(checked.dataset, own_parts) | guessed)
    folder = out or runs_dir / "previews" / checked.name
    make_folder(folder, ANOTHER_OUT)
    hardware = plan.hardware(loaded)
    hardware.use()
    shown = Trained(plan, loaded, hardware, plan.model(), epoch=0)
    beside = loaded["train"].aside
    plots = suitable_plots(
        own_parts,
        plan.data,
        plan.task,
        plan.layers,
        "of",
        "data",
        beside,
        is_augmented=bool(plan.config.augmentations),
    )
    draw_all(shown, plots, folder)


def _show_data_alone(config: Config, parts: Parts, data_dir: Path, table: TableFacts | None) -> None:
    """Print what can be told of the data of a config that is refused."""
    from dlrun.console.dataset import print_columns, print_dataset, print_preview
    from dlrun.results.preview import dataset_facts
    from dlrun.results.table_columns import given_options
    from dlrun.training.plan_data import plan_data

    with suppress(UserError):  # the mistake is one of the data, and is said anyway
        planned = plan_data(config, parts, data_dir)
        found = dataset_facts(planned, planned.load(progress=progress_unless(quiet=False)))
        print_preview(found if table is None else found | {"features": {}})
    if table:
        print_columns(table.columns)
        print_dataset(config.dataset.name, given_options(config.dataset, parts) | table.options)


def _clear_cache(data_dir: Path) -> None:
    from dlrun.console.streams import say_sentence
    from dlrun.data.image_files.decoded_images import clear_cache
    from dlrun.data.table_files.parsed_tables import clear_tables
    from dlrun.system.files import size_text

    freed = clear_cache(data_dir) + clear_tables(data_dir)
    say_sentence(f"{size_text(freed)} of decoded images and parsed tables were deleted in {data_dir}")


def show(
    config: ConfigName,
    overrides: Overrides = None,
    yaml: Annotated[
        bool,
        typer.Option("--yaml", help="Print the config alone, as a file that can be trained (> my.yaml)."),
    ] = False,
    json: Json = False,
    runs_dir: RunsDir = RUNS,
    parts: PartsDir = None,
    data_dir: DataDir = DATA,
    device: Device = None,
) -> None:
    """Show the resolved config, the model's layers and the weights that it takes, without training."""
    from dlrun.config.dumping import dump_config
    from dlrun.config.judging import with_judged_claims
    from dlrun.config.loading import load_config
    from dlrun.config.lookup import find_config

    if yaml and json:
        raise UserError("--yaml and --json cannot both be given", where="command line")
    own_parts = parts_of(parts)
    path, words = find_config(config), with_options(overrides, device=device)
    checked = load_config(path, words, own_parts)
    checked = with_judged_claims(checked, words, lambda: load_config(path, (), own_parts), check=False)
    from dlrun.console.model import print_groups, print_layers, print_weights
    from dlrun.console.streams import as_comments, say, say_json
    from dlrun.system.strict_json import finite
    from dlrun.training.initial_weights import initial_weights
    from dlrun.training.layers import skeleton
    from dlrun.training.plan_making import make_plan
    from dlrun.training.run_summary import model_facts
    from dlrun.training.teachers import with_runs_found

    checked = with_runs_found(checked, own_parts, runs_dir)
    plan = make_plan(checked, own_parts, data_dir)
    warn_of_notes([checked])
    text = dump_config(plan.config)
    if yaml:
        say(text.rstrip())
        return
    if not json:
        say(text)
    begun = initial_weights(plan, progress_unless(quiet=json))
    groups = plan.optimizer.groups
    of_groups = groups.said(list(skeleton(plan.build).named_parameters())) if groups else []
    if json:
        shown = {"config": plan.config.plain(), "input": plan.data.said_shape, **model_facts(plan)}
        shown["groups"] = [{"options": options, "weights": list(names)} for options, names in of_groups]
        say_json(finite(shown | {"weights": begun.plain() if begun else None}))
        return
    with as_comments():
        print_layers(plan.layers, plan.data.said_shape, str(plan.recipe.freezing))
        if of_groups:
            print_groups(of_groups)
        if begun:
            print_weights(begun.plain())


def list_configs(json: Json = False) -> None:
    """List the configs and the sweeps that come with dlrun, and what each shows."""
    from dlrun.config.lookup import first_comment, shipped_folder, shipped_names, shipped_sweeps
    from dlrun.console.config_list import print_configs
    from dlrun.console.streams import say_json

    configs, sweeps = (
        {name: first_comment(shipped_folder() / f"{name}.yaml") for name in names}
        for names in (shipped_names(), shipped_sweeps())
    )
    if json:
        say_json({"configs": configs, "sweeps": sweeps})
    else:
        print_configs(configs, sweeps)


def list_parts(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A kind of part, such as optimizer, a part, such as adam or optimizer.adam, a key, or an "
            "option, such as lr or optimizer.lr.",
            autocompletion=complete_kind_or_part,
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all keys and parts as one page, docs/config.md.")
    ] = False,
    json: Json = False,
    parts: PartsDir = None,
) -> None:
    """List the parts and the keys of a config, or show what one of them does and each option means."""
    from dlrun.config.misplaced_parts import misplaced
    from dlrun.config.plain_reference import as_plain
    from dlrun.config.reference import KeyReference, KindReference, Reference, whole_reference_of
    from dlrun.config.registry import Part
    from dlrun.console.parts import print_key, print_kind, print_option, print_part, print_reference
    from dlrun.console.streams import say, say_json, warn

    if markdown and json:
        raise UserError("--markdown and --json cannot both be given", where="command line")
    own_parts = parts_of(parts)
    if markdown:
        from dlrun.console.parts_page import page_of

        if name is not None:
            raise UserError("the page has all parts", where="--markdown", fix="leave out NAME")
        say(page_of(whole_reference_of(own_parts)).rstrip())
        return
    found = _asked_for(own_parts, name)
    if json:
        say_json(as_plain(found))
        return
    match found:
        case Reference():
            print_reference(found)
        case KindReference():
            print_kind(found)
        case KeyReference():
            print_key(found)
        case _:
            for part in (each for each in found if isinstance(each, Part)):
                print_part(part)
            if options := [each for each in found if isinstance(each, tuple)]:
                print_option(options)
    for what in misplaced(own_parts.folder) if own_parts.folder else ():
        warn(what)


def _asked_for(
    parts: Parts, name: str | None
) -> Reference | KindReference | KeyReference | list[Part] | OptionsOf:
    """All keys and parts, or what a name means among them. Raises UserError if it means nothing."""
    from dlrun.config.keys import KEYS
    from dlrun.config.reference import key_reference, kind_reference, parts_with, reference_of
    from dlrun.config.registry import FOLDERS

    if name is None:
        return reference_of(parts)
    if kind := known_kind(name):
        return kind_reference(parts, kind)
    if name in KEYS and not any(name in parts.names(each) for each in FOLDERS):
        return key_reference(name)
    return parts_with(parts, name) or parts_named(parts, name)
