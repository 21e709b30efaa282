"""Sending to the hub, and fetching from it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from facelesion.errors import Error, one_line
from facelesion.files import write_bytes
from facelesion.hub.cards import model_card, study_card
from facelesion.outputs import writable_file
from facelesion.report.export import whole_folder
from facelesion.report.run_folder import CONFIG, MANIFEST, TABLE, TRIALS, read_manifest
from facelesion.weights import read_weights
from facelesion.yaml_files import read_yaml

_CARD = "README.md"
#: What makes a run a study; what else of it others need, by pattern; and what shows the pictures that it was about.
_NEEDED = (CONFIG, MANIFEST, TABLE, TRIALS)
_PLAIN = (*_NEEDED, "*.csv", "*.parquet", "confusion.npz")
_SHOWING = ("stimuli.npz", "gradcam.npz", "report.html", "figures/*")


def push_weights(
    file: str | Path, to: str, *, public: bool = False, licence: str = "other", endpoint: str | None = None
) -> str:
    """Send weights to the hub, with a card made from what their file says of them.

    Args:
        file: a safetensors file with a note, as facelesion writes them.
        to: the repository, `user/name`; made where there is none.
        public: for all to see.
        licence: their terms, by a name that the hub knows.
        endpoint: the hub's address; $HF_ENDPOINT, or the Hugging Face hub, when left out.

    Returns:
        The repository's address.

    Raises:
        Error: no such weights, or the hub refuses.

    Example:
        >>> push_weights("nowhere.safetensors", "ada/mine")
        Traceback (most recent call last):
        facelesion.errors.Error: nowhere.safetensors: no such weights file: check the path
    """
    _, about = read_weights(file)
    card, path = model_card(to, about, licence), Path(file)
    return _push("model", to, public, endpoint, card, {path.name: path}, f"{path.name}, by facelesion")


def push_study(
    run_folder: str | Path,
    to: str,
    *,
    public: bool = False,
    licence: str = "other",
    with_pictures: bool = False,
    endpoint: str | None = None,
) -> str:
    """Send a finished study to the hub as a data set: its settings, its tables, its report.

    What shows photographs of people is left out unless asked for. The tables name people as their folders do.

    Args:
        run_folder: a folder such as runs/default.
        to: the repository, `user/name`; made where there is none.
        public: for all to see.
        licence: its terms, by a name that the hub knows.
        with_pictures: report and examples too, where they show photographs of people.
        endpoint: the hub's address; $HF_ENDPOINT, or the Hugging Face hub, when left out.

    Raises:
        Error: no finished run, or the hub refuses.

    Example:
        >>> push_study("nowhere", "ada/faces")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.errors.Error: nowhere has no config.yaml: give the folder of a finished study, ...
    """
    run = Path(run_folder)
    for name in _NEEDED:
        if not (run / name).is_file():
            raise Error(f"{run} has no {name}: give the folder of a finished study, such as runs/default")
    shown = with_pictures or _source(run) == "facespace"
    files = _matching(run, (*_PLAIN, *_SHOWING) if shown else _PLAIN)
    left_out = () if shown else tuple(_matching(run, _SHOWING))
    card = study_card(to, read_manifest(run), licence, left_out)
    return _push("dataset", to, public, endpoint, card, files, "a study, by facelesion")


def fetch_weights(
    name: str,
    to: str | Path | None = None,
    *,
    file: str | None = None,
    revision: str | None = None,
    endpoint: str | None = None,
) -> Path:
    """Fetch weights from the hub; `facelesion.get` takes the path.

    Args:
        name: the repository, `user/name`.
        to: where to put the file; in the hub's own cache when left out.
        file: which, where the repository has several; they are safetensors, which hold no code.
        revision: a commit or tag.
        endpoint: the hub's address; $HF_ENDPOINT, or the Hugging Face hub, when left out.

    Raises:
        Error: no such repository or file, or what came is no weights.
    """
    import huggingface_hub

    target = None if to is None else writable_file(to, "to")
    with _asking(name):
        hub = huggingface_hub.HfApi(endpoint=endpoint)
        there = [each for each in hub.list_repo_files(name, revision=revision) if each.endswith(".safetensors")]
    if file is None and len(there) != 1:
        raise Error(f"{name} has {len(there)} safetensors files ({', '.join(there[:5])}): say which with --file")
    if file is not None and file not in there:
        raise Error(f"{name} has no {file}: there are {', '.join(there[:5]) or 'no safetensors files'}")
    with _asking(name):
        found = Path(hub.hf_hub_download(name, file or there[0], revision=revision))
    read_weights(found)
    return found if target is None else write_bytes(target, found.read_bytes())


def fetch_study(
    name: str, to: str | Path | None = None, *, revision: str | None = None, endpoint: str | None = None
) -> Path:
    """Fetch a study from the hub into a folder that the reports and exports take.

    Args:
        name: the repository, `user/name`.
        to: the folder to make; runs/NAME when left out.
        revision: a commit or tag.
        endpoint: the hub's address; $HF_ENDPOINT, or the Hugging Face hub, when left out.

    Raises:
        Error: no such repository, it holds no study, or the folder is there.
    """
    import huggingface_hub

    target = Path("runs", name.rpartition("/")[2]) if to is None else Path(to)
    if os.path.lexists(target):
        raise Error(f"{target} is there already: delete it, or choose another folder with --to")
    with whole_folder(target) as folder:
        with _asking(name):
            huggingface_hub.snapshot_download(
                name, repo_type="dataset", revision=revision, endpoint=endpoint, local_dir=folder,
                allow_patterns=[*_PLAIN, *_SHOWING, _CARD],
            )  # fmt: skip
        for needed in _NEEDED:
            if not (folder / needed).is_file():
                raise Error(f"{name} has no {needed}: it is no study that facelesion sent")
        read_manifest(folder)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # what the hub's client notes for itself
    return target


def _push(
    kind: Literal["model", "dataset"],
    to: str,
    public: bool,
    endpoint: str | None,
    card: str,
    files: dict[str, Path],
    message: str,
) -> str:
    import huggingface_hub

    added = [huggingface_hub.CommitOperationAdd(_CARD, card.encode())]
    added += [huggingface_hub.CommitOperationAdd(name, str(path)) for name, path in files.items()]
    with _asking(to):
        hub = huggingface_hub.HfApi(endpoint=endpoint)
        hub.create_repo(to, repo_type=kind, private=not public, exist_ok=True)
        if not public and not hub.repo_info(to, repo_type=kind).private:  # it was there before
            raise Error(f"{to} is there already, for all to see: say so with --public, or choose another repository")
        hub.create_commit(to, added, commit_message=message, repo_type=kind)
    return f"{hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}{to}"


def _matching(run: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    found = {path for pattern in patterns for path in run.glob(pattern) if path.is_file()}
    return {path.relative_to(run).as_posix(): path for path in sorted(found)}


def _source(run: Path) -> str:
    """Where a run's pictures come from, as its settings say; "given" where they were handed over from Python."""
    settings: Any = read_yaml(run / CONFIG).plain()
    pictures = settings.get("pictures") if isinstance(settings, dict) else None
    return str(pictures.get("source", "given")) if isinstance(pictures, dict) else "given"


@contextlib.contextmanager
def _asking(name: str) -> Iterator[None]:
    """What goes wrong with the hub, or on the way to it, in one line; that its library tries again is no news."""
    from huggingface_hub import errors
    from huggingface_hub.utils import logging

    # By its own words: it sets its loggers up when they are first asked for, over whatever was set before.
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    # Its client for HTTP has others by version.
    unreached: tuple[type[Exception], ...] = (
        OSError, *cast("tuple[type[Exception], ...]", errors.HfHubHTTPError.__bases__),
    )  # fmt: skip
    try:
        yield
    except Error:
        raise
    except errors.RepositoryNotFoundError:
        raise Error(
            f"{name}: the hub has no such repository, or not for you: check the name, or set HF_TOKEN"
        ) from None
    except errors.HFValidationError as error:
        raise Error(f"{name}: {_said(error)}: write it as user/name") from None
    except unreached as error:
        raise Error(f"{name}: the hub was not reached, or refused ({_said(error)}): try again later") from None
    finally:
        logging.set_verbosity(level)


def _said(error: BaseException) -> str:
    return one_line(error)[:200]
