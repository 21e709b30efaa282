"""Maps of faces: under every stimulus, in health and in damage, at every site, and the shares of their evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facelesion.analysis.attribution import guided_grad_cam, integrated_gradients, occlusion
from facelesion.analysis.evidence import site_shares
from facelesion.analysis.gradcam import grad_cam
from facelesion.analysis.mapped_sites import MapSite
from facelesion.data.imagesets import FaceSet
from facelesion.errors import Error
from facelesion.faces.division import PARTS, divided
from facelesion.faces.stimuli import Stimulus
from facelesion.lesions import Calibration, Lesion, lesioned
from facelesion.looking.targets import Target
from facelesion.models import Subject
from facelesion.models.frame import Frame

Method = Literal["gradcam", "guided-gradcam", "integrated-gradients", "occlusion"]
HEALTHY, DAMAGED = "healthy", "damaged"
INPUT = "input"  # where the maps of methods lie that look at no site
_BATCH = 32

#: Columns of the table of evidence, in order, and what they mean.
EVIDENCE_COLUMNS: Mapping[str, str] = {
    "face": "name of the photograph",
    "stimulus": "what was done to the picture",
    "network": "healthy or damaged",
    "participant": "name of the network",
    "weights": "hash of its weights",
    "damage": "the lesion in words; none for the healthy network",
    "damage_hash": "hash of the lesion",
    "method": "how the map was made",
    "of": "the answer that the map is of",
    "score": "that answer's value",
    "site": "where in the network the map lies",
    "stage": "early, middle or late; input for methods that look at no site",
    "height": "of the map, in places",
    "width": "of the map, in places",
    "part": "part of the picture",
    "share": "the map's share on it; not a number where the map has no evidence at all",
    "area": "the part's share of the picture",
    "density": "share over area: above 1 it carries more than its size",
    "data": "hash of the faces",
}


@dataclass(frozen=True, eq=False)
class Maps:
    """What a network's evidence looks like, face by face.

    Attributes:
        faces: their names.
        stimuli: what was done to the pictures, the first of them unchanged.
        networks: `healthy`, and `damaged` where there is a lesion.
        sites: in the order in which they run.
        pictures: uint8 (faces, stimuli, H, W, 3): what the network was shown, as it sees it.
        maps: by site, float32 (faces, stimuli, networks, h, w), each as coarse as the site is; the method's own values.
        scores: float32 (faces, stimuli, networks), the answer's value.
        share, area: float32 (faces, stimuli, networks, sites, parts) and (faces, stimuli, parts); see `Evidence`.
        method, of, damage: how, of which answer, under which lesion, in words.
    """

    faces: tuple[str, ...]
    stimuli: tuple[str, ...]
    networks: tuple[str, ...]
    sites: tuple[MapSite, ...]
    pictures: npt.NDArray[np.uint8]
    maps: Mapping[str, npt.NDArray[np.float32]]
    scores: npt.NDArray[np.float32]
    share: npt.NDArray[np.float32]
    area: npt.NDArray[np.float32]
    method: str
    of: str
    damage: str

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything as named arrays, as `maps.npz` has them: no objects, so that any reader of npz can read them."""
        return {
            "faces": np.array(self.faces), "stimuli": np.array(self.stimuli), "networks": np.array(self.networks),
            "sites": np.array([site.name for site in self.sites]),
            "stages": np.array([site.stage for site in self.sites]),
            "parts": np.array(PARTS),
            "method": np.array(self.method), "of": np.array(self.of), "damage": np.array(self.damage),
            "pictures": self.pictures, "scores": self.scores, "share": self.share, "area": self.area,
            **{f"map {site.name}": self.maps[site.name] for site in self.sites},
        }  # fmt: skip


def maps_of(
    subject: Subject,
    faces: FaceSet,
    target: Target,
    sites: Sequence[MapSite],
    frame: Frame,
    *,
    stimuli: Sequence[Stimulus],
    lesion: Lesion | None = None,
    calibration: Calibration | None = None,
    method: Method = "gradcam",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Maps:
    """Make all maps of some faces.

    Args:
        subject: the network.
        faces: what is looked at.
        target: the answer that maps are of.
        sites: where; of methods that look at no site nothing but the input is shown.
        frame: where the faces' points lie in what the network is given.
        stimuli: the first should leave the picture as it is.
        lesion: shown beside the healthy network.
        calibration: what the lesion is relative to.
        method: how.
        progress: told how many of how many batches are done.

    Raises:
        Error: a lesion that takes from other pictures, which each photograph alone has not; values that are
            not finite.

    Example:
        >>> from facelesion import get
        >>> from facelesion.analysis import map_sites
        >>> from facelesion.faces import Intact
        >>> from facelesion.looking import Reference, photographed, target_of
        >>> from facelesion.models import frame_of
        >>> subject = get("untrained")
        >>> faces, reference = photographed(["facespace:1"], 112).faces, Reference(subject)
        >>> target = target_of("identity", subject, faces, reference.represent, materials=reference.materials)
        >>> sites = map_sites(subject.module, torch.zeros(1, 3, 112, 112))
        >>> frame = frame_of(subject.preprocess, 112, 112)
        >>> maps = maps_of(subject, faces, target, sites[-1:], frame, stimuli=[Intact()])
        >>> maps.networks, [each.shape for each in maps.maps.values()]
        (('healthy',), [(1, 1, 1, 7, 7)])
        >>> about = {"participant": "untrained", "weights": subject.weights, "damage_hash": "", "data": faces.digest}
        >>> rows = list(evidence_rows(maps, about))
        >>> set(rows[0]) == set(EVIDENCE_COLUMNS)
        True
    """
    if lesion is not None and any(getattr(part, "to", "") == "resample" for part in lesion.parts):
        raise Error(f"{lesion}: it takes from other pictures at random: take another lesion to look at")
    if method in ("integrated-gradients", "occlusion"):
        sites = (MapSite(INPUT, frame.height, frame.width, "early"),)
    states: tuple[Lesion | None, ...] = (None,) if lesion is None else (None, lesion)
    shape = (len(faces), len(stimuli), len(states))
    maps = {
        site.name: np.empty((*shape, site.height, site.width), np.float32)
        if method == "gradcam" else np.empty((*shape, frame.height, frame.width), np.float32)
        for site in sites
    }  # fmt: skip
    pictures = np.empty((*shape[:2], frame.height, frame.width, 3), np.uint8)
    scores = np.empty(shape, np.float32)
    share = np.empty((*shape, len(sites), len(PARTS)), np.float32)
    area = np.empty((*shape[:2], len(PARTS)), np.float32)
    todo = [(s, rows) for s in range(len(stimuli)) for rows in torch.arange(len(faces)).split(_BATCH)]
    for done, (s, rows) in enumerate(todo):
        progress(done, len(todo))
        given, parts = _shown(subject, faces, stimuli[s], frame, rows)
        here = rows.numpy()
        pictures[here, s] = (frame.seen(given) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for n, state in enumerate(states):
            damage = _damage(state, faces.ids[rows], calibration)
            found, scores[here, s, n] = _maps(method, subject.module, given, sites, target, rows, damage)
            for site in sites:
                heat = found[site.name]
                if not torch.isfinite(heat).all():
                    raise Error(f"{state or subject.name}: no finite map at {site.name}: lower the dose")
                maps[site.name][here, s, n] = heat.numpy()
            lying = site_shares(found, parts)
            for k, site in enumerate(sites):
                share[here, s, n, k], area[here, s] = lying[site.name].share.numpy(), lying[site.name].area.numpy()
    progress(len(todo), len(todo))
    return Maps(
        faces.names, tuple(map(str, stimuli)), (HEALTHY, DAMAGED)[: len(states)], tuple(sites), pictures, maps, scores,
        share, area, method, target.words, "none" if lesion is None else str(lesion),
    )  # fmt: skip


def evidence_rows(maps: Maps, about: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """The table of evidence, row by row; `about` fills the columns that all rows have in common."""
    for f, face in enumerate(maps.faces):
        for s, stimulus in enumerate(maps.stimuli):
            for n, network in enumerate(maps.networks):
                for k, site in enumerate(maps.sites):
                    for p, part in enumerate(PARTS):
                        share, area = float(maps.share[f, s, n, k, p]), float(maps.area[f, s, p])
                        row = {
                            "face": face, "stimulus": stimulus, "network": network, "method": maps.method,
                            "of": maps.of, "score": float(maps.scores[f, s, n]), "site": site.name,
                            "stage": INPUT if site.name == INPUT else site.stage, "height": site.height,
                            "width": site.width, "part": part, "share": share, "area": area,
                            "density": share / area if area > 0 else float("nan"),
                            "damage": maps.damage if network == DAMAGED else "none",
                        }  # fmt: skip
                        whole = {**about, **row}
                        if network != DAMAGED:
                            whole["damage_hash"] = "none"
                        yield {name: whole[name] for name in EVIDENCE_COLUMNS}


def _shown(
    subject: Subject, faces: FaceSet, stimulus: Stimulus, frame: Frame, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network is given of some faces under a stimulus, and how its pixels belong to the face's parts."""
    chosen, second = faces[rows], faces[(rows + 1) % len(faces)]
    others = (second.images.float() / 255, second.landmarks) if len(faces) > 1 else None
    images = stimulus(chosen.images.float() / 255, chosen.landmarks, ids=chosen.ids, others=others)
    landmarks = stimulus.moved(chosen.landmarks, faces.size, faces.size)
    return subject.preprocess(images), divided(frame.moved(landmarks), frame.height, frame.width)


def _damage(
    lesion: Lesion | None, ids: torch.Tensor, calibration: Calibration | None
) -> Callable[[nn.Module, torch.Tensor], AbstractContextManager[object]]:
    def damage(module: nn.Module, rows: torch.Tensor) -> AbstractContextManager[object]:
        return nullcontext() if lesion is None else lesioned(module, lesion, calibration=calibration, ids=ids[rows])

    return damage


def _maps(
    method: Method,
    module: nn.Module,
    given: torch.Tensor,
    sites: Sequence[MapSite],
    target: Target,
    rows: torch.Tensor,
    damage: Callable[[nn.Module, torch.Tensor], AbstractContextManager[object]],
) -> tuple[dict[str, torch.Tensor], npt.NDArray[np.float32]]:
    """Every site's maps, and the score's values."""
    names = [site.name for site in sites]
    everybody = torch.arange(len(given))
    if method == "gradcam":
        values: list[torch.Tensor] = []

        def noted(representation: torch.Tensor) -> torch.Tensor:
            values.append(target.scores(rows)(representation))
            return values[-1]

        heat = grad_cam(
            module, given, names, noted, damage=lambda: damage(module, everybody), normalise=False, resize=False
        )
        return heat, np.asarray(values[-1].detach().float().numpy())

    def scores(chosen: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        return target.scores(rows[chosen])

    value = _score(module, given, target, rows, damage)
    if method == "guided-gradcam":
        return guided_grad_cam(module, given, names, scores, damage=damage), value
    made = integrated_gradients if method == "integrated-gradients" else occlusion
    return {INPUT: made(module, given, scores, damage=damage)}, value


def _score(
    module: nn.Module,
    given: torch.Tensor,
    target: Target,
    rows: torch.Tensor,
    damage: Callable[[nn.Module, torch.Tensor], AbstractContextManager[object]],
) -> npt.NDArray[np.float32]:
    with torch.no_grad(), damage(module, torch.arange(len(given))):
        return np.asarray(target.scores(rows)(module(given)).float().numpy())
