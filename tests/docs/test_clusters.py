"""docs/clusters.md: its commands are those of dlrun, its scripts those of a shell, its YAML that of jobs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
import yaml
from pages import blocks, page

from dlrun.console.commands.app import app, with_ray_address

PAGE = page("docs/clusters.md")


def of_kind(*kinds: str) -> list[str]:
    return [content for kind, _, content in blocks(PAGE) if kind in kinds]


@cache
def command_line() -> Any:
    return typer.main.get_command(app)


def commands() -> Iterator[list[str]]:
    """Yield the words behind `dlrun` of each command on the page."""
    for line in "\n".join([*of_kind("", "sh"), *re.findall(r"`(dlrun [^`]+)`", PAGE)]).splitlines():
        if found := re.search(r"(?:^|-m )dlrun (\w+ .+?)(?: > .*)?$", line):
            yield shlex.split(found[1])


def pods() -> list[dict[str, object]]:
    """The containers of the jobs."""
    found = []
    for job in map(yaml.safe_load, of_kind("yaml")):
        spec = job["spec"]
        templates = [each["template"] for each in spec.get("pytorchReplicaSpecs", {"": spec}).values()]
        found += [pod for template in templates for pod in template["spec"]["containers"]]
    return found


@pytest.mark.parametrize("words", [*commands()], ids=" ".join)
def test_each_command_has_options_that_there_are(words: list[str]) -> None:
    given = with_ray_address(words)
    command_line().commands[given[0]].make_context(given[0], given[1:])  # raises for an option that it lacks


def test_the_containers_of_the_jobs_start_dlrun_with_options_that_there_are() -> None:
    assert len(pods()) == 3
    for pod in pods():
        words = [*pod["command"], *pod.get("args", [])]  # type: ignore[misc]
        if words[:2] == ["sh", "-c"]:
            assert subprocess.run(["sh", "-n", "-c", words[2]], check=False).returncode == 0
            words = shlex.split(words[2])[1:]
        assert words[0] == "dlrun"
        test_each_command_has_options_that_there_are(words[1:])


def test_its_array_of_jobs_has_a_shard_for_each() -> None:
    [job] = [each for each in map(yaml.safe_load, of_kind("yaml")) if each["kind"] == "Job"]
    [pod] = job["spec"]["template"]["spec"]["containers"]
    assert f'"$JOB_COMPLETION_INDEX/{job["spec"]["completions"]}"' in pod["args"][0]


def test_its_scripts_are_those_of_a_shell() -> None:
    for script in of_kind("sh"):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
