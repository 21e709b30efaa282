"""The commands `facelesion hub push` and `facelesion hub fetch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from facelesion.arguments import read_arguments
from facelesion.errors import Error
from facelesion.extras import need
from facelesion.hub.transfer import fetch_study, fetch_weights, push_study, push_weights
from facelesion.ranges import Label, OnlyWhen, PathText


def push(
    what: PathText, to: Label, public: bool = False, licence: Label = "other", with_pictures: bool = False
) -> None:
    """Send weights, or a finished study, to the Hugging Face hub; private unless said otherwise.

    Args:
        what: a safetensors file, or a run's folder.
        to: the repository, user/name; made where there is none.
        public: for all to see.
        licence: the terms, by a name that the hub knows, such as mit.
        with_pictures: of a study of photographs, what shows them too.

    Example:
        $ facelesion hub push runs/default --to ada/face-units
    """
    if Path(what).is_dir():
        print(push_study(what, to, public=public, licence=licence, with_pictures=with_pictures))
    elif with_pictures:
        raise Error(f"with_pictures is about studies, and {what} is no folder: leave it out")
    else:
        print(push_weights(what, to, public=public, licence=licence))


def fetch(
    name: Label,
    kind: Literal["weights", "study"] = "weights",
    to: PathText | None = None,
    file: Annotated[Label | None, OnlyWhen("kind", "weights")] = None,
    revision: Label | None = None,
) -> None:
    """Fetch weights, or a study, from the Hugging Face hub.

    Args:
        name: the repository, user/name.
        kind: what it holds.
        to: the file to write, or the folder to make; the hub's cache, or runs/NAME, when left out.
        file: which weights, where there are several.
        revision: a commit or tag.

    Example:
        $ facelesion hub fetch ada/face-units --kind study
    """
    if kind == "study":
        print(fetch_study(name, to, revision=revision))
    else:
        print(fetch_weights(name, to, file=file, revision=revision))


_COMMANDS: dict[str, Callable[..., Any]] = {"push": push, "fetch": fetch}


def hub_command(argv: Sequence[str]) -> None:
    """`facelesion hub push WHAT --to USER/NAME` and `facelesion hub fetch USER/NAME`."""
    command = _COMMANDS.get(argv[0]) if argv else None
    if command is None:
        raise Error("say facelesion hub push WHAT --to USER/NAME, or facelesion hub fetch USER/NAME")
    need("huggingface_hub")
    command(**read_arguments(command, argv[1:], f"facelesion hub {argv[0]}"))
