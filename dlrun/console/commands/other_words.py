"""Commands and options of other tools: what to write in their place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from dlrun.config.file_kinds import ENDINGS, is_table_name
from dlrun.config.other_words import key_meant
from dlrun.data.image_files.finding import SUFFIXES
from dlrun.errors import UserError, closest
from dlrun.system.files import with_home
from dlrun.system.processes import quoted

COMMANDS = {
    "train": ("fit", "run", "start", "main", "learn"),
    "eval": ("test", "evaluate", "validate", "val", "score"),
    "calibrate": ("calibration", "temperature-scaling"),
    "predict": ("infer", "inference", "prediction"),
    "plot": ("plots", "draw", "visualize", "visualise"),
    "log": ("track", "upload", "sync", "tensorboard", "mlflow", "wandb"),
    "export": ("convert", "onnx", "to-onnx", "deploy", "torchscript"),
    "data": ("dataset", "preview", "inspect"),
    "show": ("summary", "print", "config", "info", "check"),
    "lr": ("lr_find", "lr-find", "find_lr", "find-lr", "lr_finder", "lr_range_test"),
    "parts": ("list-parts", "modules", "models"),
    "new": ("create", "add"),
    "sweep": ("tune", "search", "multirun", "grid", "hpo"),
    "runs": ("ls", "list", "history", "status"),
    "rm": ("delete", "remove", "del", "clean"),
    "resume": ("continue", "restart"),
    "compare": ("comparison", "rank"),
}
OPTIONS = {
    "--multirun": "dlrun sweep CONFIG KEY=VALUES trains every combination of values",
    "-m": "dlrun sweep CONFIG KEY=VALUES trains every combination of values",
    "--resume": "dlrun resume RUN continues a run",
    "--cv": "dlrun train CONFIG --folds 5 trains a run for each of five folds",
    "--kfold": "dlrun train CONFIG --folds 5 trains a run for each of five folds",
    "--ray": "dlrun sweep CONFIG KEY=VALUES --ray trains many runs on a Ray cluster",
    "--tta": "dlrun eval RUN --tta flip, and predict, average over views of an image",
    "--opset": "leave it out: dlrun export writes opset 18",
    "--checkpoint": "name the run or the checkpoint itself, without an option",
}
_VIEWS = {"--tta flip": ("--augment", "--flip"), "--tta": ("--test-time-augmentation",)}
OPTIONS_OF: dict[str, dict[str, tuple[str, ...]]] = {  # a command: its options by the words of other tools
    "lr": {
        "--from": ("--min-lr", "--start-lr", "--start", "--init-value"),
        "--to": ("--max-lr", "--end-lr", "--end", "--final-value"),
        "--steps": ("--num-training", "--num-it", "--num-iter", "--iterations"),
    },
    "calibrate": {"--threshold": ("--thresholds", "--cutoff", "--decision-threshold")},
    "export": {
        "--format": ("--type", "--to", "--backend", "--target"),
        "--out": ("--output", "--output-file", "--file", "--path"),
        "--ensemble": ("--all-seeds", "--mean", "--average"),
    },
    "eval": _VIEWS,
    "predict": _VIEWS,
}
_MOST_SEEN = 1000  # files
_CONFIG = (
    "--config",
    "-c",
    "--cfg",
    "--config-file",
    "--config-name",
    "--config-path",
    "-f",
    "--file",
    "--yaml",
)


def command_meant(name: str) -> str:
    """The command of dlrun that another tool calls `name`; "" if there is none."""
    return next((ours for ours, others in COMMANDS.items() if name.lower() in others), "")


def command_instead(words: Sequence[str], commands: Collection[str]) -> str:
    """The command line that `words` mean if the first one is none of the `commands`; "" if it is not known.

    A config is trained, a table or a folder of images gets a config, a run is evaluated, a slip is corrected.
    """
    given = [word for word in words if word != "--debug"]
    if not given or given[0] in commands or given[0].startswith("-"):
        return ""
    first, rest = given[0], given[1:]
    if first.lower() in ("help", "version"):
        of_command = [word for word in rest[:1] if word in commands and first.lower() == "help"]
        return quoted(["dlrun", *of_command, f"--{first.lower()}"])
    if command := command_meant(first):
        return quoted(["dlrun", command, *rest])
    if command := _command_for(first):
        return quoted(["dlrun", command, *given])
    close = closest(first, commands) if Path(first).name == first else None
    return quoted(["dlrun", close, *rest]) if close else ""


def _command_for(text: str) -> str:
    """The command that takes a file, a folder or a config as its first argument; "" for anything else."""
    from dlrun.config.lookup import find_config
    from dlrun.run_folders.run import is_run_folder

    with suppress(UserError, OSError, ValueError):  # such as a name that is too long
        path = Path(with_home(text))
        if is_run_folder(path):
            return "eval"
        if path.exists() and (is_table_name(path.name) or _holds_images(path)):
            return "init"
        is_config = path.suffix in ENDINGS or not path.exists()
        return "train" if is_config and find_config(text, Path()) else ""
    return ""


def _holds_images(folder: Path) -> bool:
    """True if some of the first files in the folders of a folder are images."""
    return any(each.suffix.lower() in SUFFIXES for each in islice(folder.glob("*/*"), _MOST_SEEN))


def option_instead(
    name: str, words: Sequence[str], similar: Sequence[str], own: Collection[str], *, takes_keys: bool
) -> str:
    """The remedy for an option that a command does not have, such as `--epochs`; "" if none is known.

    `own` are the options that the command has, `similar` those of them that look alike; `takes_keys` if it
    has arguments KEY=VALUE.
    """
    if name in OPTIONS:
        return OPTIONS[name]
    command = next((word for word in words if not word.startswith("-")), "")
    value = _value(name, words)
    for ours, others in OPTIONS_OF.get(command, {}).items():
        if name.replace("_", "-") in others:
            return f"write {ours} {value}".rstrip()
    if name in _CONFIG and takes_keys:
        return f"name the config without an option: dlrun {command} {value or 'CONFIG'}"
    if not name.startswith("--"):
        return ""
    if not takes_keys:
        is_gpu = key_meant(name) == "device" and "--device" in own
        return f"write {'--device cuda' if is_gpu else similar[0]}" if is_gpu or similar else ""
    from dlrun.config.loading import read_config
    from dlrun.config.lookup import find_config
    from dlrun.config.registry import Parts
    from dlrun.config.strict_yaml import parse
    from dlrun.config.unknown_keys import argument_instead

    tree, parts = parse("", "", has_lines=False), Parts()
    for word in words[words.index(command) + 1 :] if command else ():
        with suppress(UserError):
            tree = read_config(find_config(word))
            break
    return argument_instead(name, value, tree, parts, at_evaluation=command == "eval")


def _value(name: str, words: Sequence[str]) -> str:
    """The value of an option, in the next word or behind its equals sign; "" if it has none."""
    for index, word in enumerate(words):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name:
            following = words[index + 1] if index + 1 < len(words) else ""
            return "" if following.startswith("--") or "=" in following else following
    return ""
