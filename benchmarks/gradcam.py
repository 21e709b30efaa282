"""How long Grad-CAM of many faces at all thirteen sites of the built-in network takes, against what it cannot go below.

    python benchmarks/gradcam.py [--faces 1000] [--threads 2] [--repeats 3]

The floor is one forward and one backward pass to the first site, without a map. Beside it: our maps of all sites in one
pass, the same with shares of the evidence (what `facelesion gradcam` does with each batch), and Captum's `LayerGradCam`
site after site. Pieces of 64 faces are timed in turn, so that whatever else runs on the machine meets all alike; the
ratios are medians of pieces. `--faces` are then done in one go, for time and memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import LayerAttribution, LayerGradCam

from facelesion.analysis.evidence import site_shares
from facelesion.analysis.gradcam import grad_cam
from facelesion.data.facespace import FaceSpace
from facelesion.data.imagesets import FaceSet
from facelesion.faces.division import divided
from facelesion.faces.stimuli import Intact
from facelesion.looking.maps import maps_of
from facelesion.looking.reference import Reference
from facelesion.looking.targets import target_of
from facelesion.models import get
from facelesion.models.frame import frame_of

_PIECE, _BATCH = 32, 32


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--faces", type=int, default=1000)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    subject = get("builtin")
    faces = FaceSpace.load().draw(_PIECE, 1, seed=5)
    target = target_of("identity", subject, faces, Reference(subject).represent, materials=Reference(subject).materials)
    sites = [name for name in subject.module.site_aliases if name.startswith("conv")]
    images, rows = subject.preprocess(faces.images), torch.arange(_PIECE)
    parts = divided(faces.landmarks, 112, 112)
    first = subject.module.get_submodule(subject.module.site_aliases[sites[0]])

    def floor() -> None:
        for batch in rows.split(_BATCH):
            kept: list[torch.Tensor] = []
            handle = first.register_forward_hook(lambda _m, _i, output, kept=kept: kept.append(output))
            score = target.scores(batch)(subject.module(images[batch].requires_grad_(True))).sum()
            handle.remove()
            torch.autograd.grad(score, kept[0])

    def ours() -> None:
        for batch in rows.split(_BATCH):
            grad_cam(subject.module, images[batch], sites, target.scores(batch), normalise=False, resize=False)

    def with_shares() -> None:
        for batch in rows.split(_BATCH):
            heat = grad_cam(subject.module, images[batch], sites, target.scores(batch), normalise=False, resize=False)
            site_shares(heat, parts[batch])

    def captum() -> None:
        for batch in rows.split(_BATCH):
            score = target.scores(batch)
            for site in sites:
                layer = subject.module.get_submodule(subject.module.site_aliases[site])
                method = LayerGradCam(lambda x, score=score: score(subject.module(x)), layer)
                small = method.attribute(images[batch].requires_grad_(True), relu_attributions=True)
                LayerAttribution.interpolate(small, (112, 112), "bilinear")

    ways = {"floor": floor, "all sites in one pass": ours, "with shares": with_shares, "Captum, site by site": captum}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    floor()
    for _ in range(given.repeats):
        for name, way in ways.items():
            spent[name].append(timed(way))
    base = statistics.median(spent["floor"])
    print(f"{len(sites)} sites, {given.threads} threads, pieces of {_PIECE} faces")
    for name, each in spent.items():
        middle = statistics.median(each)
        print(f"{name:24}{1000 * middle / _PIECE:8.1f} ms a face{middle / base:8.2f} × the floor")
    many = FaceSet(
        faces.images.repeat(-(-given.faces // _PIECE), 1, 1, 1)[: given.faces],
        tuple(str(number) for number in range(given.faces)), tuple(str(number) for number in range(given.faces)),
        faces.landmarks.repeat(-(-given.faces // _PIECE), 1, 1)[: given.faces],
    )  # fmt: skip
    whole(subject, many)


def timed(way: Callable[[], None]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def whole(subject: object, faces: FaceSet) -> None:
    """What `facelesion gradcam` does with many faces, but for reading and writing."""
    from facelesion.analysis.mapped_sites import map_sites
    from facelesion.models import Subject

    assert isinstance(subject, Subject)
    reference = Reference(subject)
    started = time.perf_counter()
    target = target_of("identity", subject, faces, reference.represent, materials=reference.materials)
    sites = map_sites(subject.module, subject.preprocess(faces.images[:1]))
    maps = maps_of(subject, faces, target, sites, frame_of(subject.preprocess, 112, 112), stimuli=[Intact()])
    spent = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(maps.faces)} faces × {len(maps.sites)} sites: {spent:.0f} s, {most:.2f} GiB of memory at the most")


if __name__ == "__main__":
    main()
