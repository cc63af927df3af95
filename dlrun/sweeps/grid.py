"""The grid of a sweep: every combination of the keys' values becomes a checked config.

Nothing here imports torch, so that a mistake is reported at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dlrun.config.dumping import as_argument, as_word
from dlrun.config.judging import with_judged_claims
from dlrun.config.keys import (
    FOLD,
    FOLDS,
    SWEEP_KEY,
    Config,
    flat_config,
    takes_only_lists,
    takes_whole_numbers,
)
from dlrun.config.loading import load_config, read_config
from dlrun.config.merging import refuse_form
from dlrun.config.mistakes import ConfigError, Mistake
from dlrun.config.option_values import as_list
from dlrun.config.registry import Parts
from dlrun.config.strict_yaml import Located, Place
from dlrun.errors import UserError, shortened
from dlrun.run_folders.sweep_folder import of_each_seed
from dlrun.sweeps.other_words import mapping_meant
from dlrun.sweeps.values import (
    MOST_VALUES,
    SweptKey,
    combinations,
    draws,
    override_words,
    pairs,
    parts_first,
    swept_key,
)

_COMMAND_LINE = "on the command line"  # the place of a mistake in a KEY=VALUE argument
_REMEDY = re.compile(r"(.*: write [\w.]+=)\S+")
_SEEDS = "write them as --seeds 5 or seeds=0,1,2; each setting is trained with all of them"


@dataclass(frozen=True)
class Setting:
    """One combination of values, key -> value, and its configs: one for each seed, or one for all seeds."""

    values: dict[str, Any]
    configs: list[Config]


def settings_of_grid(
    path: Path,
    given: Sequence[str],
    seeds: Sequence[int] | None,
    count: int | None,
    parts: Parts,
    *,
    is_zipped: bool = False,
) -> list[Setting]:
    """The settings of a sweep of the config at `path`, each checked.

    `given` are KEY=VALUES arguments, added to those under `sweep:` in the file. With `count` so many
    combinations are drawn at random, otherwise all are taken, or, if it `is_zipped`, the values in pairs.
    Each is trained with `seeds`, by default the config's own. Raises ConfigError with the mistakes of all
    combinations, UserError if values cannot be read or there is only one run.
    """
    axes, plain = swept_keys(path, given, seeds, parts, is_zipped=is_zipped)
    every = pairs(axes) if is_zipped else combinations(axes) if count is None else draws(axes, count)
    found = checked_settings(path, given, every, plain, axes, parts)
    if not axes and sum(len(setting.configs) for setting in found) == 1:
        raise UserError(
            "there is nothing to sweep: no key has several values",
            fix="give some, such as optimizer.lr=1e-4,1e-3, or under sweep: in the config, or --seeds 5",
        )
    return found


def checked_settings(
    path: Path,
    given: Sequence[str],
    every: Sequence[dict[str, Any]],
    plain: Sequence[str],
    axes: Sequence[SweptKey],
    parts: Parts,
) -> list[Setting]:
    """A setting for each of some combinations of values, set in the config at `path` with `plain` arguments.

    Raises ConfigError with the mistakes of all of them, UserError for too many runs.
    """
    found, mistakes = list[Setting](), dict[Mistake, list[dict[str, Any]]]()
    known = set[str]()
    for values in every:
        try:
            words = parts_first([*plain, *override_words(values)])
            config = load_config(path, words, parts, {each.key: each.place for each in axes if each.place})
            refuse_other_values(config, values)
        except ConfigError as error:
            for mistake in error.mistakes:
                mistakes.setdefault(mistake, []).append(values)
            continue
        values = in_own_letters(config, values)
        if repr(values) not in known:  # ReLU and relu are one value
            known.add(repr(values))
            found.append(Setting(values, of_each_seed(config)))
    if mistakes:
        met = _once_for_each_key(mistakes, given)
        raise ConfigError(str(path), [_with_cause(*each, every) for each in met.items()])
    runs = sum(len(setting.configs) for setting in found)
    if runs > MOST_VALUES:
        raise UserError(f"a sweep has at most {MOST_VALUES:,} runs", fix="take fewer values, or fewer seeds")
    return found


def settings_of_folds(
    path: Path, words: Sequence[str], count: int, parts: Parts, *, check: bool = False
) -> list[Setting]:
    """The settings of a cross-validation in `count` folds: one for each, with a run for all of its seeds.

    Claims that the config makes of itself are judged in each run if it has as many folds, with `check` in any
    case. Raises ConfigError, UserError for a fold among the `words`.
    """
    if named := next((word for word in words if word.partition("=")[0] in (FOLD, FOLDS)), None):
        what = f"--folds trains with each of {count} folds, and {shortened(named)} says something else"
        raise UserError(what, where=_COMMAND_LINE, fix="leave out one of them")
    found = []
    for fold in range(count):
        of_fold = [*words, f"{FOLDS}={count}", f"{FOLD}={fold}"]
        config = load_config(path, of_fold, parts)
        config = with_judged_claims(config, of_fold, partial(_before, path, fold, parts), check=check)
        found.append(Setting({FOLD: fold}, [config]))
    return found


def _before(path: Path, fold: int, parts: Parts) -> Config:
    """The config at a path as it is written, of one of its folds if it has any."""
    config = load_config(path, (), parts)
    options = config.dataset.options
    own = options | {"fold": fold} if "folds" in options else options
    return replace(config, dataset=replace(config.dataset, options=own))


def in_own_letters(config: Config, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a setting with the names of parts and choices as its config has them: relu for ReLU."""
    actual = flat_config(config.plain())
    return {
        key: actual[key] if key in actual and _is_same(value, actual[key]) else value
        for key, value in values.items()
    }


def _is_same(one: Any, other: Any) -> bool:
    """True for equal values, and for texts that are equal but for their case."""
    return bool(
        one == other or (isinstance(one, str) and isinstance(other, str) and one.lower() == other.lower())
    )


def refuse_other_values(config: Config, values: dict[str, Any]) -> None:
    """Raise ConfigError if a setting is not what its values say, because two of them set the same key."""
    actual = flat_config(config.plain())
    mistakes = []
    for key, value in values.items():
        leaves = (
            {f"{key}.{name}": leaf for name, leaf in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
        for leaf, wanted in leaves.items():
            if leaf in actual and not _is_same(actual[leaf], wanted):
                other = next(
                    (each for each in values if each != key and f"{leaf}.".startswith(f"{each}.")),
                    f"the argument {leaf}=…",
                )
                what = f"is {json.dumps(wanted)} by {key}, but {json.dumps(actual[leaf])} by {other}"
                mistakes.append(config.mistake(leaf, f"{what}: leave it out of one of them"))
    if mistakes:
        raise config.refuse(mistakes)


def with_share(of_seeds: list[Config], threads: int, share: int) -> list[Config]:
    """The configs with `threads: auto` set to `share`, if a run alone would take more `threads` than that."""
    if threads <= share or of_seeds[0].threads != "auto":
        return of_seeds
    return [replace(config, threads=share) for config in of_seeds]


def swept_keys(
    path: Path,
    given: Sequence[str],
    seeds: Sequence[int] | None,
    parts: Parts,
    *,
    is_zipped: bool = False,
    of_one: bool = False,
) -> tuple[list[SweptKey], list[str]]:
    """The keys with several values, from the file and the command line, and the arguments with one value.

    The command line overrides the file. Several seeds do not make a swept key: every setting is trained with
    all of them. If it `is_zipped`, a value may come several times; with `of_one` a key with one value is a
    swept one too.
    """
    named, plain, met = _of_file(path), list[str](), set[str]()
    for index, word in enumerate(given):
        key, _, text = word.partition("=")
        refuse_form(given, index, "KEY=VALUES", "write a key and its values, such as optimizer.lr=1e-4,1e-3")
        if key in met:
            fix = "write all of its values behind one KEY="
            raise UserError(f"{shortened(key)} is given twice", where="command line", fix=fix)
        met.add(key)
        found = swept_key(key, text, _COMMAND_LINE, keeps_repeated=is_zipped)
        if isinstance(found.values, list) and len(found.values) == 1 and not (of_one and key != "seeds"):
            named.pop(key, None)
            plain += override_words({key: found.values[0]})
        else:
            named[key] = text, None
    if of_each := named.pop("seeds", None):
        each = swept_key("seeds", of_each[0], str(of_each[1] or _COMMAND_LINE))
        if not (isinstance(each.values, list) and all(type(value) is int for value in each.values)):
            raise UserError("seeds are whole numbers", where=each.where, fix=_SEEDS)
        plain.append(f"seeds={json.dumps(each.values)}")
    plain += [f"seeds={json.dumps(list(seeds))}"] if seeds is not None else []
    tree = read_config(path, parts_first(plain), parts)
    for word in given:
        key, _, text = word.partition("=")
        _refuse_split_list(tree, key, text, parts)
    axes = [
        replace(
            swept_key(
                key,
                written,
                str(place or _COMMAND_LINE),
                is_whole=takes_whole_numbers(tree, key, parts),
                keeps_repeated=is_zipped,
            ),
            place=place,
        )
        for key, (written, place) in named.items()
    ]
    return axes, plain


def _refuse_split_list(tree: Located, key: str, text: str, parts: Parts) -> None:
    """Raise UserError for `hidden=100,100`, which is one list in `dlrun train` and two values in a sweep."""
    if key == "seeds" or "," not in text or not takes_only_lists(tree, key, parts):
        return
    one = as_list(text)
    if one and not any(isinstance(each, list | str) for each in one):
        fix = f"write {key}=[{text}] for one list, {key}={','.join(f'[{each}]' for each in one)} for several"
        raise UserError(
            f"{text} are {len(one)} values in a sweep, and {key} is a list", where=_COMMAND_LINE, fix=fix
        )


def _once_for_each_key(
    mistakes: Mapping[Mistake, list[dict[str, Any]]], given: Sequence[str]
) -> dict[Mistake, list[dict[str, Any]]]:
    """The mistakes with the values that make them; one in place of those of each value of a wrong key.

    Its remedy has all values: `write optimizer.lr=0.1,0.2` for `lr=0.1,0.2`.
    """
    texts = {key: text for key, _, text in (word.partition("=") for word in given)}
    alike = dict[Mistake, list[Mistake]]()  # by what they say without their values
    for mistake in mistakes:
        found = _REMEDY.fullmatch(mistake.what) if mistake.key in texts else None
        alike.setdefault(replace(mistake, what=found[1]) if found else mistake, []).append(mistake)
    met = dict[Mistake, list[dict[str, Any]]]()
    for shared, each in alike.items():
        made = [values for mistake in each for values in mistakes[mistake]]
        if len(each) == 1:
            met[each[0]] = made
            continue
        before, key = shared.what.removesuffix("=").rsplit(" ", 1)
        as_given = [as_argument(key, mistakes[mistake][0][mistake.key]) for mistake in each]
        written = [mistake.what.removeprefix(f"{before} ") for mistake in each]
        values = (
            texts[shared.key] if written == as_given else ",".join(word.partition("=")[2] for word in written)
        )
        met[replace(shared, what=f"{before} {as_word(f'{key}={values}')}")] = made
    return met


def _with_cause(mistake: Mistake, made: Sequence[dict[str, Any]], every: Sequence[dict[str, Any]]) -> Mistake:
    """Add the values that cause a mistake to its text, unless it names them or all combinations have it."""
    makes = {id(each) for each in made}
    others = [each for each in every if id(each) not in makes]
    causes = {
        key: value
        for key, value in made[0].items()
        if all(each[key] == value for each in made)
        and not any(each[key] == value for each in others)
        and str(value) not in mistake.what
    }
    if not (causes and others):
        return mistake
    return replace(mistake, what=f"{mistake.what} (with {', '.join(override_words(causes))})")


def _of_file(path: Path) -> dict[str, tuple[Any, Place | None]]:
    """The mapping under `sweep:` in a config: key -> its values and their place."""
    written = read_config(path).value.get(SWEEP_KEY)
    if written is None or written.value is None:
        return {}
    if not isinstance(written.value, dict):
        fix = "write sweep: {optimizer.lr: [1e-4, 1e-3]}"
        raise UserError("sweep: names keys with their values", where=str(written.place), fix=fix)
    found = dict[str, tuple[Any, Place | None]]()
    for key, (values, place) in _leaves(written.value):
        if key in found:
            raise UserError(f"{shortened(key)} is given twice (first at {found[key][1]})", where=str(place))
        found[key] = values, place
    return found


def _leaves(written: dict[str, Located], before: str = "") -> Iterator[tuple[str, tuple[Any, Place]]]:
    """Yield the keys with their values and places; `optimizer: {lr: …}` becomes `optimizer.lr`."""
    for key, each in written.items():
        if isinstance(each.value, dict) and (fix := mapping_meant(each.plain())):
            what = f"{shortened(before + key)}: values to sweep are a list, or a range as text"
            raise UserError(what, where=str(each.place), fix=fix)
        if isinstance(each.value, dict) and each.value:
            yield from _leaves(each.value, f"{before}{key}.")
        else:
            yield f"{before}{key}", (each.plain(), each.place)
