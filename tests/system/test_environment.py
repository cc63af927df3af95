"""Pictures are drawn, and no library says a word, whatever the environment of a process is like."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dlrun.system.environment import prepare_drawing

NOWHERE = "/dev/null/none"  # which nobody can make, root neither
FC_LIST = """\
#!/bin/sh
test -w "${XDG_CACHE_HOME:-/dev/null/none}" || echo 'Fontconfig error: No writable cache directories' >&2
echo --format
"""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A folder for temporary files into which every user may write."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may write to, and reach, as nobody else may reach those of a test."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def environment(tmp_path: Path, temporary: Path) -> dict[str, str]:
    """An environment without a home, in which fontconfig complains as it does on such machines."""
    program = tmp_path / "bin" / "fc-list"
    program.parent.mkdir()
    program.write_text(FC_LIST)
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    left_out = ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME", "MPLBACKEND")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(temporary)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        "module://matplotlib_inline.backend_inline",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("nonsense", "qtagg", "tkagg")),
    ],
)
def test_pictures_are_drawn_whatever_backend_somebody_chose(
    tiny: Path, runs_dir: Path, dlrun_process: Callable[..., Any], backend: str
) -> None:
    plots = "plots=[curves, {name: decision_animation, seconds: 1}]"
    words = ("train", tiny, "epochs=2", plots, "-q")
    done = dlrun_process(*words, env=os.environ | {"MPLBACKEND": backend})
    assert done.communicate()[1] == ""
    assert sorted(path.name for path in runs_dir.glob("*/plots/*")) == [
        "curves.png",
        "decision_animation.gif",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "home",
    [{"HOME": NOWHERE}, {"HOME": "/dev/null"}, {"XDG_CONFIG_HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE}],
)
def test_a_home_that_cannot_be_written_to_is_no_matter(
    tiny: Path,
    runs_dir: Path,
    temporary: Path,
    dlrun_process: Callable[..., Any],
    environment: dict[str, str],
    home: dict[str, str],
) -> None:
    done = dlrun_process("train", tiny, "plots=[curves]", "-q", env=environment | home)
    assert done.communicate()[1] == ""
    assert list(runs_dir.glob("*/plots/curves.png"))
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_the_workers_of_a_sweep_share_the_folder_of_the_process_that_began_them(
    tiny: Path,
    runs_dir: Path,
    temporary: Path,
    dlrun_process: Callable[..., Any],
    environment: dict[str, str],
) -> None:
    words = ("sweep", tiny, "optimizer.lr=1e-3,1e-2", "plots=[curves]", "-q")
    done = dlrun_process(*words, env=environment | {"HOME": NOWHERE})
    assert done.communicate()[1] == ""
    assert len(list(runs_dir.glob("*/*/plots/curves.png"))) == 2
    assert next(runs_dir.glob("*/workers.log")).read_text() == ""
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root becomes somebody else")
@pytest.mark.parametrize("tmpdir", ["", NOWHERE])
def test_a_user_without_a_name_trains_from_a_read_only_install(
    tiny: Path,
    dlrun_process: Callable[..., Any],
    environment: dict[str, str],
    open_folder: Path,
    tmpdir: str,
) -> None:
    capability = "+dac_read_search"  # Python itself may lie where this user may not look
    nameless = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    nameless += (f"--inh-caps={capability}", f"--ambient-caps={capability}")
    runs = open_folder / "runs"
    words = ("train", tiny, "--runs-dir", runs, "plots=[curves]", "-q")
    env = environment | {"HOME": "/root", "TMPDIR": tmpdir or str(open_folder)}
    done = dlrun_process(*words, env=env, before=nameless)
    _, said = done.communicate()
    assert (done.returncode, said) == (0, "")
    [run] = runs.iterdir()
    assert run.stat().st_uid == 54321
    assert (run / "plots" / "curves.png").is_file()


def test_a_home_that_can_be_written_to_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "qtagg")
    prepare_drawing()
    assert os.environ["MPLBACKEND"] == "agg"
    assert not {"MPLCONFIGDIR", "XDG_CACHE_HOME"} & os.environ.keys()
    assert list(tmp_path.iterdir()) == []
