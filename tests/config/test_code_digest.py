"""Figures are answered by an earlier run only where all of the code that they depend on is the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.config.code_digest import digest_of_code
from dlrun.config.registry import KINDS

Write = Callable[[str, str], Path]
PROJECT = Path(__file__).parents[2]
PART = "{imports}\n\n\ndef half(progress):\n    '''Half.'''\n    {inside}\n    return 0.5\n"


@pytest.fixture
def lab(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules beside a parts folder, which Python finds."""
    write("lab/digest_flat.py", "import digest_below\nimport digest_named\n")
    write("lab/digest_below.py", "HALF = 0.5\n")
    write("lab/digest_named.py", "from importlib import import_module\nimport_module('digest_later')\n")
    write("lab/digest_later.py", "X = 1\n")
    write("lab/digest_package/__init__.py", "from .one import f\n")
    write("lab/digest_package/one.py", "from . import two\nfrom .deep.three import g\n\nf = 1\n")
    write("lab/digest_package/two.py", "")
    write("lab/digest_package/deep/three.py", "from ..four import h\n\ng = 1\n")
    write("lab/digest_package/four.py", "h = 1\n")
    write("lab/digest_package/nobody.py", "")
    write("lab/digest_lazy.py", "")
    write("lab/digest_nobody.py", "")
    monkeypatch.syspath_prepend(tmp_path / "lab")
    return tmp_path / "lab"


@pytest.fixture
def mine(write: Write, lab: Path, tmp_path: Path) -> Path:
    imports = "import os, json.decoder\nimport torch.nn.functional as F\nfrom ._near import x\n"
    imports += "from digest_flat import *\nimport digest_package as p\nimport no_such_module_anywhere"
    write("mine/schedule/half.py", PART.format(imports=imports, inside="import digest_lazy"))
    write("mine/schedule/_near.py", "x = 1\n")
    write("mine/schedule/deep/er/still.py", "")
    write("mine/.hidden/x.py", "")
    write("mine/broken.py", "import digest_nobody\nthis = = no Python\n")
    return tmp_path / "mine"


@pytest.mark.parametrize(
    ("name", "is_of_it"),
    [
        ("lab/digest_flat.py", True),
        ("lab/digest_below.py", True),
        ("lab/digest_later.py", True),
        ("lab/digest_package/__init__.py", True),
        ("lab/digest_package/one.py", True),
        ("lab/digest_package/two.py", True),
        ("lab/digest_package/deep/three.py", True),
        ("lab/digest_package/four.py", True),
        ("lab/digest_lazy.py", True),
        ("mine/schedule/half.py", True),
        ("mine/schedule/_near.py", True),
        ("mine/schedule/deep/er/still.py", True),
        ("mine/schedule/new.py", True),
        ("mine/broken.py", True),
        ("mine/.hidden/x.py", False),
        ("mine/table.csv", False),
        ("lab/digest_package/nobody.py", False),
        ("lab/digest_nobody.py", False),
    ],
)
def test_the_code_is_of_every_file_in_the_folder_and_of_what_these_import(
    name: str, is_of_it: bool, mine: Path, tmp_path: Path
) -> None:
    before = digest_of_code(mine, KINDS)
    path = tmp_path / name
    path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    assert (digest_of_code(mine, KINDS) != before) is is_of_it


def test_installed_modules_are_not_of_it(mine: Path, tmp_path: Path, write: Write) -> None:
    write("lab/site-packages/digest_installed.py", "")
    sys.path.append(str(tmp_path / "lab" / "site-packages"))
    try:
        write("mine/loss/uses.py", "import digest_installed\n")
        before = digest_of_code(mine, KINDS)
        write("lab/site-packages/digest_installed.py", "x = 2\n")
        assert digest_of_code(mine, KINDS) == before
    finally:
        sys.path.pop()


def test_a_folder_of_parts_may_be_a_link(mine: Path, tmp_path: Path, write: Write) -> None:
    write("elsewhere/l.py", "import digest_nobody\n")
    (mine / "loss").symlink_to(tmp_path / "elsewhere")
    (mine / "loop").symlink_to(mine)
    before = digest_of_code(mine, KINDS)
    write("lab/digest_nobody.py", "x = 2\n")
    assert digest_of_code(mine, KINDS) != before


def test_the_code_is_the_same_before_a_part_is_imported_and_after_and_moves_with_its_files(
    mine: Path, lab: Path, tmp_path: Path
) -> None:
    (mine / "schedule" / "half.py").write_text(
        "import digest_flat, digest_package\n\n\ndef half(p): return 0.5\n"
    )
    code = (
        "import sys; from pathlib import Path; from dlrun.config.registry import Parts\n"
        "def digest(): return Parts(Path(sys.argv[1])).code\n"
        "first = digest(); Parts(Path(sys.argv[1])).find('schedule', 'half')\n"
        "assert 'digest_below' in sys.modules\n"
        "print(first == digest(), first, 'torch' in sys.modules)"
    )

    def said() -> list[str]:
        words = [sys.executable, "-c", code, str(tmp_path / "mine")]
        path = f"{PROJECT}:{tmp_path / 'lab'}"
        done = subprocess.run(words, capture_output=True, text=True, check=True, env={"PYTHONPATH": path})
        return done.stdout.split()

    before = said()
    assert (before[0], before[2]) == ("True", "False")
    (tmp_path / "other").mkdir()
    for folder in (mine, lab):
        folder.rename(tmp_path / "other" / folder.name)
    tmp_path = tmp_path / "other"
    assert said() == before
