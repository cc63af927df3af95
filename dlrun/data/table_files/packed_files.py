"""Files that may be packed by gzip, bzip2, xz or ZIP, as their first bytes tell, unpacked when read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dlrun.config.file_kinds import is_table_name, kind_by_beginning
from dlrun.data.image_files.finding import SUFFIXES
from dlrun.errors import UserError, in_full, listed, nearest

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "ZIP"}
WORKBOOK = "a workbook"
_OF_WORKBOOKS = "[Content_Types].xml"
_NO_DATA = ("__MACOSX/", ".DS_Store", "Thumbs.db")  # that systems add to archives


@dataclass(frozen=True)
class PackedFile:
    """A file as its unpacked bytes: `packing` is gzip, bzip2, xz, ZIP or a workbook, "" if it is not packed.

    `member` is the file's name within a ZIP archive.
    """

    path: Path
    packing: str = ""
    member: str = ""

    @classmethod
    def at(cls, path: Path, member: str | None = None) -> PackedFile:
        """The file at a path; of an archive the `member`, or the only one.

        Raises UserError if it is not a file, cannot be read, or is an archive of several files.
        """
        with refused(path):
            if "\0" in str(path):
                raise UserError(f"cannot read {path}: a name cannot hold a byte 0")
            if path.is_dir():
                raise UserError(f"{path} is a folder, but a table is one file", fix=_in_folder(path))
            if path.exists() and not path.is_file():  # opening a pipe may block forever
                raise UserError(f"{path} is not a file")
            with open(path, "rb") as file:
                start = file.read(8)
            if (kind := kind_by_beginning(start)).endswith(("image", "PDF file")):
                raise UserError(
                    f"this is {kind}, not a table", where=str(path), fix="name a table, such as a CSV file"
                )
            packing = next((name for magic, name in _PACKED.items() if start.startswith(magic)), "")
            if packing != "ZIP":
                return cls(path, packing)
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if _OF_WORKBOOKS in names:
                    return cls(path, WORKBOOK)
                if names[:1] == ["mimetype"]:
                    what = "this is a document (.ods), not a table that can be read"
                    raise UserError(what, where=str(path), fix="save it as .xlsx, or as CSV in UTF-8")
                return cls(path, packing, _chosen(names, member, path))

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes. Raises UserError, for what is done with them too, if the file is damaged."""
        with refused(self.path, self.packing):
            if self.packing == "ZIP":
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                    yield file
            elif self.packing:
                openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
                with openers[self.packing](self.path) as file:
                    yield file
            else:
                with open(self.path, "rb") as file:
                    yield file


def files_in_archive(path: Path) -> list[str] | None:
    """The names of the files in a ZIP archive; None of a workbook, which is one too."""
    with refused(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return None if _OF_WORKBOOKS in names else _files(names)


def _in_folder(folder: Path) -> str:
    """The remedy for a folder in place of a table."""
    if tables := sorted(each.name for each in folder.iterdir() if is_table_name(each.name)):
        return f"name a file in it, such as {folder / tables[0]}"
    if any(each.suffix.lower() in SUFFIXES for each in folder.glob("*/*")):
        return "its folders hold images, which the dataset image_folder reads"
    return "name a file, such as a CSV file"


def _files(names: Sequence[str]) -> list[str]:
    """Those of the names in an archive that are of files which somebody put there."""
    files = [name for name in names if not name.endswith("/") and not name.startswith(_NO_DATA[0])]
    return [name for name in files if not name.endswith(_NO_DATA[1:])]


def _chosen(names: list[str], member: str | None, path: Path) -> str:
    """The name of the file in an archive that is meant."""
    files = _files(names)
    if member is not None:
        if member not in files:
            raise UserError(
                f"there is no file {member[:60]!r} in it{nearest(member, files)}", where=str(path)
            )
        return member
    if len(files) != 1:
        what = f"the archive holds {len(files):,} files {listed(files)}"
        fix = "name the one that is meant with sheet" if files else "put a file into it"
        raise UserError(what, where=str(path), fix=fix)
    return files[0]


@contextmanager
def refused(path: Path, packing: str = "") -> Iterator[None]:
    """Turn the errors of reading a file into UserErrors."""
    try:
        yield
    except UnicodeError:
        raise
    except FileNotFoundError:
        raise UserError(f"there is no file {in_full(path)}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile) as error:
        what = f"this is not a complete {packing or 'ZIP'} file: {error}"
        raise UserError(what, where=str(path)) from None
    except RuntimeError as error:
        if "password" not in str(error):
            raise
        raise UserError("the archive needs a password", where=str(path), fix="unpack it") from None
    except (OSError, NotImplementedError) as error:
        if packing == "bzip2" and getattr(error, "errno", None) is None:
            raise UserError(f"this is not a complete bzip2 file: {error}", where=str(path)) from None
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
