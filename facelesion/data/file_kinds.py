"""What a file in a folder of photographs is: a picture, plainly no picture, or something to be named to the user."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from facelesion.data.images import SUFFIXES, UNREAD_SUFFIXES

# What file managers, archivers and programmers' tools leave behind: never anybody's photographs.
_LEFT_BEHIND = frozenset({
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".ds_store", ".localized", "icon\r", ".picasa.ini",
    "picasa.ini", ".nomedia", ".directory", ".gitignore", ".gitattributes", ".gitkeep", ".keep", ".unpacked.json",
    ".volumeicon.icns", "readme", "license", "licence", "copying", "changelog", "makefile", "authors",
})  # fmt: skip
TOOLS_FOLDERS = frozenset({
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__", ".git",
    ".svn", ".hg", ".dvc", ".idea", ".vscode", ".venv", ".ipynb_checkpoints", ".trash", ".trashes", ".spotlight-v100",
    ".fseventsd", ".temporaryitems", ".documentrevisions-v100", ".appledouble", ".picasaoriginals", ".cache",
})  # fmt: skip
_NO_PICTURES = frozenset({
    ".txt", ".text", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".md", ".rst", ".tex", ".bib", ".yaml", ".yml",
    ".toml", ".xml", ".html", ".htm", ".css", ".log", ".lst", ".list", ".ini", ".cfg", ".conf", ".url", ".webloc",
    ".lnk", ".xmp", ".aae", ".py", ".ipynb", ".m", ".r", ".sh", ".bat", ".js", ".c", ".h", ".cpp", ".java", ".npy",
    ".npz", ".parquet", ".pq", ".feather", ".arrow", ".mat", ".pkl", ".pickle", ".h5", ".hdf5", ".db", ".sqlite",
    ".pts", ".ljson", ".lm2", ".land", ".xls", ".xlsx", ".ods", ".md5", ".sha1", ".sha256", ".sfv",
})  # fmt: skip
_KINDS = {
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"), "an archive: unpack it first"
    ),
    **dict.fromkeys(
        (".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp"),
        "a film: save a picture of it",
    ),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".ppt", ".pptx", ".odt", ".rtf"), "a document, not a picture"),
}
_APPLE_DOUBLE = b"\x00\x05\x16\x07"
_HIDDEN = "hidden, as its name begins with a dot: rename it"


def is_picture(name: str) -> bool:
    """Whether a file's name says that it is a picture that can be read.

    Example:
        >>> is_picture("Ada_0001.JFIF"), is_picture("Ada_0001.heic"), is_picture(".jpg")
        (True, False, False)
    """
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def why_unread(name: str) -> str:
    """Why a file of this name is no picture that can be read; empty where it is one."""
    own, suffix = PurePosixPath(name).name, PurePosixPath(name).suffix.lower()
    if suffix in UNREAD_SUFFIXES:
        return f"a picture of a kind that is not read ({suffix}): save it as JPEG or PNG"
    if is_picture(own):
        return _HIDDEN if own.startswith(".") else ""
    return _KINDS.get(suffix) or "not known as a picture by its name: if it is one, end it in .jpg or .png"


def plainly_no_picture(path: str) -> bool:
    """Whether a file is of a kind that nobody takes for a photograph."""
    name = os.path.basename(path).lower()
    if name in _LEFT_BEHIND or PurePosixPath(name).suffix in _NO_PICTURES:
        return True
    if not name.startswith("._"):
        return False
    try:
        # What a Mac keeps of a file where the file system has no place for it.
        with open(path, "rb") as file:
            return file.read(4) in (_APPLE_DOUBLE, b"")
    except OSError:
        return False
