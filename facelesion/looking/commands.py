"""The commands `facelesion stimuli` and `facelesion gradcam`: settings checked, work done, files written whole."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from facelesion.arguments import read_arguments
from facelesion.errors import Error
from facelesion.files import write_bytes, write_whole
from facelesion.looking.lesions import lesion_of
from facelesion.looking.photographs import Finder, photographed
from facelesion.outputs import writable_file, writable_folder
from facelesion.ranges import Label, OnlyWhen, PathText, Range, Seed, Size

_MASKS = ("mask eyebrows", "mask eyes", "mask nose", "mask mouth")
_ENDINGS = (".png", ".svg", ".pdf", ".jpg")
SEVERAL = 200  # faces in a sheet of stimuli that anybody would look at


def stimuli_command(argv: Sequence[str]) -> None:
    """`facelesion stimuli PHOTO ...`."""
    read = read_arguments(stimuli, argv, "facelesion stimuli")
    stimuli(**read)


def gradcam_command(argv: Sequence[str]) -> None:
    """`facelesion gradcam PHOTO ...`."""
    read = read_arguments(gradcam, argv, "facelesion gradcam")
    gradcam(**read)


def stimuli(
    photographs: Annotated[Sequence[PathText], Size(1, SEVERAL)],
    stimuli: Annotated[Sequence[Any], Size(1, 100)] = ("intact", *_MASKS),
    out: PathText = "stimuli.png",
    each: PathText | None = None,
    size: Annotated[int, Range(16, 1024)] = 224,
    backend: Finder = "mediapipe",
    model: Annotated[PathText | None, OnlyWhen("backend", "mediapipe", "dlib")] = None,
) -> None:
    """Show what a network is shown: photographs with landmarks and regions drawn over them, and every stimulus.

    Args:
        photographs: pictures of faces, folders that `facelesion prepare` wrote, or facespace:0 for a built-in face.
        stimuli: short names such as "mask eyes" or "blur mouth + invert", or settings {kind: mask, region: eyes}.
        out: the sheet to write; it ends in .png, .svg, .pdf or .jpg.
        each: a folder to write every single picture into as well.
        size: side of the cut-out faces in pixels.
        backend: what finds the landmarks.
        model: the backend's model file, such as face_landmarker.task.

    Example:
        $ facelesion stimuli facespace:1 --stimuli intact "mask eyes" "blur mouth + invert"
    """
    from facelesion.looking.sheets import encoded, shown, stimuli_sheet
    from facelesion.report.style import png

    read = _stimuli(stimuli)
    ending = _ending(out)
    writable_file(out, "out")
    folder = None if each is None else writable_folder(each, "each")
    given = photographed(photographs, size, backend, model)
    if len(given.faces) > SEVERAL:
        raise Error(
            f"photographs: {len(given.faces)} faces, and nobody looks at a sheet of more than {SEVERAL}: give fewer"
        )
    _check_pairs(read, len(given.faces))
    pictures = shown(given, read)
    data = encoded(stimuli_sheet(given, read, pictures), ending)
    if folder is not None:
        files = _files([f"{name} {stimulus}" for stimulus in read for name in given.faces.names])
        for file, picture in zip(files, (picture for made in pictures for picture in made), strict=True):
            write_bytes(folder / f"{file}.png", png(picture))
        print(folder)
    write_bytes(out, data)
    print(out)


def gradcam(
    photographs: Annotated[Sequence[PathText], Size(1, 100_000)],
    participant: PathText = "builtin",
    of: PathText = "identity",
    sites: Annotated[
        Sequence[Label] | None, Size(1, 1000), OnlyWhen("method", "gradcam", "guided-gradcam")
    ] = None,
    stimuli: Annotated[Sequence[Any], Size(1, 100)] = ("intact", *_MASKS),
    lesion: PathText | None = None,
    method: Literal["gradcam", "guided-gradcam", "integrated-gradients", "occlusion"] = "gradcam",
    rows: Literal["stages", "all"] = "stages",
    scale: Literal["healthy", "own"] = "healthy",
    known: PathText | None = None,
    out: PathText = "gradcam",
    sheets: Annotated[int, Range(0, 10_000)] = 12,
    seed: Seed = 0,
    backend: Finder = "mediapipe",
    model: Annotated[PathText | None, OnlyWhen("backend", "mediapipe", "dlib")] = None,
) -> None:
    """Show where a network's evidence for an answer lies in photographs, layer by layer, in health and in damage.

    Args:
        photographs: pictures of faces, folders that `facelesion prepare` wrote, or facespace:0 for a built-in face.
        participant: a network's name, or a file of weights.
        of: the answer: detection (a face or not); identity (the face's own embedding); a person's name (of --known, or
            of the network's own answers); or a reference photograph, to which the likeness is taken.
        sites: names or patterns, such as conv5_3 or conv*; all that have a map when left out.
        stimuli: what is done to the pictures, as in `facelesion stimuli`; the first leaves them as they are.
        lesion: in words, such as "ablate 20% of conv5_3", or a YAML file; shown beside the healthy network.
        method: gradcam; or, to compare, one of Captum's others. The last two look at no site.
        rows: of the sheets: the last site of the early, middle and late layers, or all sites.
        scale: of the sheets' colours: 1 is the largest value of the healthy map of the normal face at the same site, or
            of each map's own, which shows where and not how much.
        known: a folder of people with photographs, who are enrolled, for a person's name in --of.
        out: the folder to write: a sheet for each face (.png and .svg), maps.npz, evidence.csv and evidence.parquet,
            settings.json.
        sheets: the first so many faces get a sheet; the arrays and the table have all.
        seed: of an untrained network's weights, and of what the readout for detection is fitted on.
        backend: what finds the landmarks.
        model: the backend's model file, such as face_landmarker.task.

    Example:
        $ facelesion gradcam facespace:1 --lesion "ablate 20% of conv5_3" --out maps
    """
    from facelesion.analysis.mapped_sites import map_sites, stages_of
    from facelesion.faces.stimuli import Intact
    from facelesion.lesions import lesion_sites
    from facelesion.looking.maps import INPUT, evidence_rows, maps_of
    from facelesion.looking.reference import Reference
    from facelesion.looking.sheets import encoded, evidence_sheet
    from facelesion.looking.targets import target_of
    from facelesion.models import get
    from facelesion.models.frame import frame_of

    read = _stimuli(stimuli)
    if read[0] != Intact():
        raise Error(f"stimuli: the first is {read[0]}: begin with intact, for colours are scaled by it")
    damage = None if lesion is None else lesion_of(lesion)
    folder = writable_folder(out, "out")
    subject = get(participant, seed)
    if damage is not None:
        lesion_sites(subject.module, damage)  # told here, before any photograph is read
    blank = torch.zeros(1, 3, subject.size, subject.size)
    places = map_sites(subject.module, subject.preprocess(blank), sites)
    given = photographed(photographs, subject.size, backend, model)
    _check_pairs(read, len(given.faces))
    reference = Reference(subject, seed)
    target = target_of(
        of, subject, given.faces, reference.represent, materials=reference.materials, known=known, finder=backend,
        model=model,
    )  # fmt: skip
    maps = maps_of(
        subject, given.faces, target, places, frame_of(subject.preprocess, subject.size, subject.size), stimuli=read,
        lesion=damage, calibration=None if damage is None else reference.calibration(damage), method=method,
        progress=_progress,
    )  # fmt: skip
    about = {
        "participant": subject.name, "weights": subject.weights, "data": given.faces.digest,
        "damage_hash": "none" if damage is None else damage.hash,
    }  # fmt: skip
    chosen = [site.name for site in (maps.sites if rows == "all" else stages_of(maps.sites).values())]
    chosen = [INPUT] if maps.sites[0].name == INPUT else chosen
    for face, file in enumerate(_files(maps.faces[:sheets])):
        figure = evidence_sheet(maps, face, chosen, scale=scale)
        for ending in ("png", "svg"):
            write_bytes(folder / f"{file}.{ending}", encoded(figure, ending))
    write_whole(folder / "maps.npz", lambda file: np.savez_compressed(file, **maps.arrays()))  # type: ignore[arg-type]
    _write_table(folder, list(evidence_rows(maps, about)))
    settings = {
        "command": shlex.join(["facelesion", *sys.argv[1:]]), **about, "damage": maps.damage, "of": target.words,
        "method": method, "seed": seed,
        "stimuli": [str(each) for each in read], "sites": [site.name for site in maps.sites],
        "lesion": None if damage is None else damage.to_dict(), "versions": _versions(),
    }  # fmt: skip
    write_bytes(folder / "settings.json", json.dumps(settings, indent=1, ensure_ascii=False).encode())
    print(_told(maps, chosen))
    print(folder)


def _stimuli(given: Sequence[Any]) -> list[Any]:
    """Stimuli from short names or settings."""
    from facelesion.faces.stimuli import Stimulus

    read = []
    for each in given:
        try:
            read.append(Stimulus.from_dict(each))
        except Error as error:
            raise Error(f"stimuli: {error}") from None
    names = [str(each) for each in read]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise Error(f"stimuli: {twice} is there twice: give each once")
    return read


def _check_pairs(stimuli: Sequence[Any], faces: int) -> None:
    """Refuse a stimulus that is made of two faces where there is one."""
    from facelesion.faces.stimuli import Chain, Composite, PartSwap

    for stimulus in stimuli if faces < 2 else ():
        parts = stimulus.parts if isinstance(stimulus, Chain) else (stimulus,)
        if any(isinstance(part, PartSwap | Composite) for part in parts):
            raise Error(f"stimuli: {stimulus} is made of two faces: give a second photograph")


def _ending(out: str) -> str:
    ending = Path(out).suffix.lower()
    if ending not in _ENDINGS:
        raise Error(f"out: {out} ends in {ending or 'nothing'}: end it in {', '.join(_ENDINGS)}")
    return ending


def _files(names: Sequence[str]) -> list[str]:
    """A file's name for each, plain and none twice."""
    from facelesion.report.style import file_name

    plain = [re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60] for name in names]
    return [
        each if each and plain.count(each) == 1 else file_name(f"{name} ")
        for each, name in zip(plain, names, strict=True)
    ]


def _write_table(folder: Path, rows: list[dict[str, object]]) -> None:
    import pandas as pd

    table = pd.DataFrame(rows)
    write_bytes(folder / "evidence.csv", table.to_csv(index=False, float_format="%.6g").encode("utf-8", "replace"))
    write_whole(folder / "evidence.parquet", lambda file: table.to_parquet(file, index=False))


def _versions() -> dict[str, str]:
    from importlib import metadata

    import facelesion

    return {"facelesion": facelesion.__version__, **{name: metadata.version(name) for name in ("torch", "captum")}}


def _progress(done: int, all_of_them: int) -> None:
    """How far it is, on standard error, where that takes long."""
    if all_of_them > 8 and (done % 8 == 0 or done == all_of_them):
        print(f"maps: {done} of {all_of_them} batches", file=sys.stderr, flush=True)


def _told(maps: Any, sites: Sequence[str]) -> str:
    """The shares on the unmasked faces at the sites of the sheet, mean over faces, as a table to print."""
    from facelesion.faces.division import PARTS

    lines = [f"{'share of the evidence':<26}" + "".join(f"{part.replace('_', ' '):>14}" for part in PARTS)]
    area = maps.area[:, 0].mean(0)
    lines.append(f"{'(share of the area)':<26}" + "".join(f"{value:>13.0%} " for value in area))
    for name in sites:
        k = [site.name for site in maps.sites].index(name)
        for n, network in enumerate(maps.networks):
            seen = maps.share[:, 0, n, k]
            seen = seen[np.isfinite(seen).all(1)]
            cells = [f"{value:>13.0%} " for value in seen.mean(0)] if len(seen) else [f"{'no evidence':>14}"]
            lines.append(f"{name + ', ' + network:<26}" + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)
