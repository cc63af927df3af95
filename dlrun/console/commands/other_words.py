"""Commands and options of other tools: what to write in their place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from dlrun.config.other_words import key_meant

COMMANDS = {
    "train": ("fit", "run", "start", "main", "learn"),
    "eval": ("test", "evaluate", "validate", "val", "score"),
    "predict": ("infer", "inference", "prediction"),
    "plot": ("plots", "draw", "visualize", "visualise"),
    "data": ("dataset", "preview", "inspect"),
    "show": ("summary", "print", "config", "info", "check"),
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
    "--checkpoint": "name the run or the checkpoint itself, without an option",
}
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
    from dlrun.errors import UserError

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
