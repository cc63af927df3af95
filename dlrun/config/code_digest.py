"""Digest of the code that figures depend on: that of dlrun, of the user's parts, and of modules they import.

No module is imported for it: the imports in the files of parts are found by parsing, resolved as Python
would, and followed in turn, unless they lead to the parts folder or to a library. So the digest is the same
before and after a part is imported, and in every process. A module whose name is computed at run time is
not found.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_INSTALLED = ("site-packages", "dist-packages")


def digest_of_code(parts: Path | None, kinds: Sequence[str] = ()) -> str:
    """The digest of dlrun's code, of every *.py below a folder of parts, and of the modules those import.

    A folder of one of the `kinds` may be a link; other links to folders are not followed.
    """
    digest = sha256(_of_package())
    for name, path in sorted(_python_files(parts, kinds).items() if parts else ()):
        digest.update(_named(name, path))
    files = _python_files(parts, kinds).values() if parts else ()
    for name, path in sorted(_imported_by(files).items()):
        digest.update(_named(f"import {name}", path))
    return digest.hexdigest()[:16]


def digest_of_file(path: Path) -> str:
    """The digest of a Python file and of the modules that it imports, as `digest_of_code` finds them."""
    digest = sha256(_content(path))
    for name, imported in sorted(_imported_by([path]).items()):
        digest.update(_named(f"import {name}", imported))
    return digest.hexdigest()[:16]


@cache
def _of_package() -> bytes:
    """The digest of dlrun's own code, read once: what has been imported does not change with its files."""
    digest = sha256()
    for name, path in sorted(_python_files(_PACKAGE, ()).items()):
        digest.update(_named(name, path))
    return digest.digest()


def _named(name: str, path: Path) -> bytes:
    """A name and the content of a file, as a digest takes them."""
    return f"{name}\0".encode(errors="replace") + _content(path)


def _python_files(folder: Path, kinds: Sequence[str]) -> dict[str, Path]:
    """Relative path -> path of every *.py below a folder, without hidden files and installed libraries."""
    found = dict[str, Path]()
    for top in [folder, *(folder / kind for kind in kinds if (folder / kind).is_symlink())]:
        for home, inside, names in os.walk(top):
            inside[:] = [each for each in inside if not each.startswith(".") and each not in _INSTALLED]
            for name in names:
                path = Path(home, name)
                if name.endswith(".py") and not name.startswith(".") and path.is_file():
                    found[str(path.relative_to(folder))] = path
    return found


def _imported_by(files: Iterable[Path]) -> dict[str, Path]:
    """The modules, name -> file, that some files import, directly or through other modules.

    Excluded are the standard library, installed packages, dlrun, and these files themselves.
    """
    inside = {str(path.resolve()) for path in files}
    libraries = _libraries() if inside else []
    pending = [name for path in inside for name in _imports(Path(path), package=None)]
    seen, packages, found = set[str](), set[str](), dict[str, Path]()
    while pending:
        name = pending.pop()  # a package comes before its modules
        above = name.rpartition(".")[0]
        if name in seen or name == "dlrun" or (above and above not in packages):
            continue
        seen.add(name)
        spec = _spec(name)
        if spec is None or _is_library(spec, libraries):
            continue
        if is_package := spec.submodule_search_locations is not None:
            packages.add(name)
        # A package without an __init__.py has no file.
        path = Path(spec.origin) if spec.has_location and spec.origin else None
        if path and str(path.resolve()) not in inside:
            found[name] = path
            pending += _imports(path, package=name if is_package else above)
    return found


def _imports(path: Path, package: str | None) -> Iterator[str]:
    """The dotted names that a file may import, the packages around each before it.

    `package` is that of the file, for its relative imports; without one these are left out.
    """
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(_content(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        names = list[str]()
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=module, names=aliases, level=0) if module:
                names = [f"{module}.{alias.name}" for alias in aliases]
            case ast.ImportFrom(module=module, names=aliases, level=level) if package:
                around = package.split(".")[: len(package.split(".")) - level + 1]
                home = ".".join([*around, *([module] if module else [])])
                names = [f"{home}.{alias.name}" for alias in aliases] if around else []
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                names = [name]
        for name in names:
            steps = name.split(".")
            yield from (".".join(steps[:end]) for end in range(len(steps), 0, -1))


def _spec(name: str) -> ModuleSpec | None:
    """The spec by which Python finds a module, without importing its package; None if there is none."""
    if name in sys.modules:
        known = getattr(sys.modules[name], "__spec__", None)
        return known if isinstance(known, ModuleSpec) else None
    above, path = name.rpartition(".")[0], None
    if above:
        package = _spec(above)
        if package is None or package.submodule_search_locations is None:
            return None
        path = _inside(package)
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # a finder of a third party; the others are still asked
            continue
        if spec is not None:
            return spec
    # Finders do not find a namespace package inside of a package that is not imported yet.
    last = name.rpartition(".")[2]
    if places := [str(place) for place in (Path(each, last) for each in path or ()) if place.is_dir()]:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = places
        return spec
    return None


def _inside(package: ModuleSpec) -> list[str]:
    """The folders of a package's modules."""
    try:
        return list(package.submodule_search_locations or ())
    except KeyError:  # the parent package is no longer in sys.modules
        return []


def _libraries() -> list[str]:
    """The folders of the standard library and of installed packages."""
    import sysconfig

    found = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return list({f"{each}{os.sep}" for path in found for each in (path, os.path.realpath(path))})


def _is_library(spec: ModuleSpec, libraries: Sequence[str]) -> bool:
    """True if a module belongs to the standard library or is installed."""
    places = [spec.origin] if spec.has_location else _inside(spec)
    return not places or any(
        place is None
        or place.startswith(tuple(libraries))
        or any(step in _INSTALLED for step in Path(place).parts)
        for place in places
    )


def _content(path: Path) -> bytes:
    """The bytes of a file; b"" if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
