"""Weights that a run may begin with: found by the name of a run, a file or a publication, and read safely."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dlrun.blocks.published_weights import PublishedWeights
from dlrun.config.data_paths import found_at, writable
from dlrun.config.keys import WEIGHTS, Choice, Config
from dlrun.config.registry import Parts
from dlrun.errors import CheckpointRefused, UserError, nearest, shortened
from dlrun.run_folders.finding import find_run
from dlrun.run_folders.run import Run, is_run_folder, refuse_links
from dlrun.system.files import is_file, is_missing, with_home
from dlrun.system.progress import Progress, no_progress
from dlrun.training.averaging import AVERAGE
from dlrun.training.checkpoint import load_plain, read_whole
from dlrun.training.checkpoint_entries import SHOWN
from dlrun.training.noting import Noting
from dlrun.training.published_weights import fetched, published_for, with_preprocessing

_KIND, _OPTION = WEIGHTS.split(".")
_SUFFIXES = (".pt", ".pth", ".safetensors")
_MOST_TENSORS = 100_000
_ENTRIES = ("state_dict", "model_state_dict", "model")  # under which others save weights beside other things
_SAVE = "torch.save(model.state_dict(), 'weights.pt')"


@dataclass(frozen=True)
class SavedWeights:
    """The weights in a file by their names: those of each seed in a checkpoint, else one set of a model."""

    source: str  # the run or the file, as the config names it; of published weights the file and the name
    digest: str  # SHA-256 of the file
    each: list[dict[str, Tensor]]
    seeds: list[int]  # of a checkpoint; empty for any other file

    def place(self, seed: int) -> int:
        """The index of the weights with which a seed begins: of the same seed, or else the first.

        It depends on no other seed, so that a seed among several begins as it would alone.
        """
        return self.seeds.index(seed) if seed in self.seeds else 0


def weights_named(config: Config, parts: Parts) -> str | None:
    """The run, file or name that a config has under architecture.weights; None for none.

    An option of that name that the architecture takes itself is left to it.
    """
    choice = config.architecture
    is_common = _OPTION in parts.part(_KIND, choice.name).common
    return choice.options.get(_OPTION) if is_common else None


def with_weights_found(config: Config, parts: Parts, runs_dir: Path) -> Config:
    """The config with the run or file of its weights as an absolute path, which means the same ever after.

    A file or a run's folder is looked for in the current folder and beside the config, a run also by its name
    in `runs_dir`. An absolute path stays as it is. The name of published weights stays too, but for one that
    stands for another, such as DEFAULT; the dataset then has their preprocessing unless the config states its
    own. Raises ConfigError if nothing is found, or several.
    """
    text = weights_named(config, parts)
    if text is None:
        return config
    known = _published(config, parts)
    choice = config.architecture
    if text in known:
        name = next(name for name, weights in known.items() if weights == known[text])
        config = with_preprocessing(config, parts, name, known[name])
        return replace(config, architecture=Choice(choice.name, choice.options | {_OPTION: name}))
    found = found_source(config, WEIGHTS, text, runs_dir, known)
    return replace(config, architecture=Choice(choice.name, choice.options | {_OPTION: found}))


def found_source(config: Config, key: str, text: str, runs_dir: Path, known: Collection[str] = ()) -> str:
    """The absolute path of the run or file that stands at a key, which is none of the `known` names.

    Raises ConfigError if nothing is found, or several.
    """
    place = config.tree.at(tuple(key.split("."))).place
    try:
        return _found(text, runs_dir, Path(place.source).parent if place.line else None)
    except UserError as error:
        what, fix = error.inline, error.fix
        if known and not Path(text).suffix:
            what = f"{shortened(text)} is no run, no file and no name of published weights"
            what, fix = f"{what}{nearest(text, known)}", ""
        raise config.refuse([config.mistake(key, what, fix)]) from None
    except (OSError, ValueError):  # no valid path
        raise config.refuse([config.mistake(key, f"{shortened(text)} is neither a run nor a file")]) from None


def _published(config: Config, parts: Parts) -> dict[str, PublishedWeights]:
    """The published weights among which a config's may be. Raises ConfigError if they cannot be told."""
    known = dict[str, PublishedWeights]()
    text = weights_named(config, parts)
    if text is None or Path(with_home(text)).is_absolute():
        return known
    noting = Noting(config, parts)
    with noting(_KIND):
        known = published_for(config, parts)
    noting.refuse()
    return known


def _found(text: str, runs_dir: Path, beside: Path | None) -> str:
    path = Path(with_home(text))
    if path.is_absolute():
        return str(path)
    places = [path, *([beside / path] if beside else [])]
    found = [place for place in found_at(places) if is_file(place) or is_run_folder(place)]
    if len(found) > 1:
        which = " or ".join(map(writable, found))
        raise UserError(f"{shortened(text)} could be {which}", fix="write the whole path of the one")
    if not found and path.suffix in _SUFFIXES:
        raise UserError(f"there is no file {' or '.join(dict.fromkeys(map(writable, places)))}")
    absolute = Path(writable(found[0] if found else find_run(text, runs_dir).folder))
    if not absolute.is_absolute():
        raise UserError(f"the path of {shortened(text)} is no UTF-8, which a config must be")
    return str(absolute)


def read_weights(
    config: Config, parts: Parts, data_dir: Path, progress: Progress = no_progress
) -> SavedWeights | None:
    """Read the weights that a config names; code in the file is never executed. None if it names none.

    They are those of a run (its best.pt), of a file, or published ones, which are downloaded into the data
    folder unless they are there. Raises UserError, which names the file, if they are missing, or of a kind
    that is not read.
    """
    text = weights_named(config, parts)
    if text is None:
        return None
    path, published = _located(text, config, parts, data_dir, progress)
    source = f"{path.name} ({text})" if published else text
    try:
        if path.suffix == ".safetensors":
            raw = read_whole(path)
            content, digest = _safetensors(raw, path), hashlib.sha256(raw).hexdigest()
        else:
            content, digest = load_plain(path, may_be_old=True)
    except CheckpointRefused as refused:
        fix = f"use another file, or save the weights again by {_SAVE}"
        fix = "delete it, and it is downloaded again" if published else fix
        raise UserError(f"its weights cannot be read: {refused.what}", where=str(path), fix=fix) from None
    if published and not digest.startswith(published.sha256):
        what = f"this is not what was published as {text}: its SHA-256 does not begin with {published.sha256}"
        raise UserError(what, where=str(path), fix="delete it, and it is downloaded again")
    each, seeds = _of_checkpoint(content) or ([_of_model(content)], [])
    if not each or not all(each):
        raise UserError(f"there are no weights by name in {path}", fix=f"save them by {_SAVE}")
    if max(map(len, each)) > _MOST_TENSORS:
        raise UserError(f"{path} holds more than {_MOST_TENSORS:,} tensors")
    return SavedWeights(source, digest, each, seeds)


def digest_of_weights(config: Config, parts: Parts, data_dir: Path) -> str | None:
    """The SHA-256 of the file of a config's weights; None for none. Raises UserError if it cannot be read."""
    text = weights_named(config, parts)
    if text is None:
        return None
    path, _ = _located(text, config, parts, data_dir, no_progress)
    return hashlib.sha256(read_whole(path)).hexdigest()


def _located(
    text: str, config: Config, parts: Parts, data_dir: Path, progress: Progress
) -> tuple[Path, PublishedWeights | None]:
    """The file of a config's weights, and what is published of them if they are published ones."""
    if published := _published(config, parts).get(text):
        return fetched(text, published, data_dir, progress), published
    return file_of(Path(text)), None


def digest_at(text: str) -> str:
    """The SHA-256 of the file that a run or path means. Raises UserError if it cannot be read."""
    return hashlib.sha256(read_whole(file_of(Path(text)))).hexdigest()


def file_of(path: Path, others: str = f"name a run, a checkpoint, or a file that {_SAVE} wrote") -> Path:
    """The file that holds the weights: of a run its best.pt. Raises UserError if there is none.

    `others` is the remedy for a file of another kind.
    """
    if is_run_folder(path):
        run = Run(path)
        refuse_links(run)
        if is_missing(run.best):
            fix = "" if is_missing(run.last) else f"name its last.pt instead: {run.last}"
            raise UserError(f"the run {path} has no best.pt yet", fix=fix)
        return run.best
    if is_missing(path):
        raise UserError(f"there is no run or file {path}", fix="bring it back, or name another")
    if path.is_dir():
        raise UserError(f"{path} is a folder, and not that of a run")
    if path.suffix not in _SUFFIXES:
        raise UserError(f"{path} is no file of weights ({', '.join(_SUFFIXES)})", fix=others)
    return path


def _safetensors(raw: bytes, path: Path) -> Any:
    try:
        from safetensors.torch import load
    except ImportError:
        fix = f"pip install safetensors, or save the weights by {_SAVE}"
        raise UserError(f"{path} can only be read with the package safetensors", fix=fix) from None
    try:
        return load(raw)
    except Exception as error:  # of a package that may not be there
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise CheckpointRefused(f"it is damaged ({reason})") from None


def _of_checkpoint(content: Any) -> tuple[list[dict[str, Tensor]], list[int]] | None:
    """The weights of each seed in a checkpoint of dlrun, and the seeds; None for other content."""
    match content:
        case {"dlrun": str(), "config": {"seeds": list(seeds)}, "state": {"model": list(each)} as state}:
            each = state[AVERAGE] if state.get(SHOWN) == AVERAGE else each
            if len(each) == len(seeds) and all(type(seed) is int for seed in seeds):
                return [_tensors(weights) for weights in each], seeds
    return None


def _of_model(content: Any) -> dict[str, Tensor]:
    """The weights in a state_dict, which may be an entry of a dict of more; empty for other content."""
    inside = [content[name] for name in _ENTRIES if name in content] if isinstance(content, dict) else []
    return next((found for each in [content, *inside] if (found := _tensors(each))), {})


def _tensors(content: Any) -> dict[str, Tensor]:
    """The tensors in a dict by their names, without other entries; empty for anything but a dict."""
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
