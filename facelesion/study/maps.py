"""Where the evidence comes from: Grad-CAM of the first probe, intact and under the heaviest lesions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from facelesion.lesions import lesioned
from facelesion.study.bench import Bench
from facelesion.study.design import INTACT, Planned
from facelesion.study.run import needs_company
from facelesion.tasks import Identification

if TYPE_CHECKING:
    from facelesion.report import GradCamMaps

SITES = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_1", "conv5_3")  # early, middle, late


def heaviest(planned: Sequence[Planned]) -> list[int]:
    """Positions of the intact network and of the first draw of every series' last dose."""
    last = {each.series: number for number, each in enumerate(planned) if each.draw == 0 and not each.control}
    return list(last.values())


def grad_cam_maps(bench: Bench) -> GradCamMaps | None:
    """Maps of the first probe's own identity; None where there is no identification, or no site of these names."""
    from facelesion.analysis.gradcam import grad_cam, likeness_score
    from facelesion.report import GradCamMaps

    who = next((task for task in bench.tasks if isinstance(task, Identification)), None)
    aliases = getattr(bench.subject.module, "site_aliases", {})
    sites = [site for site in SITES if site in aliases]
    if who is None or not sites:
        return None
    image = bench.pool.images[who.rows[:1]]
    images = bench.subject.preprocess(image.to(bench.device))
    identity = copy.deepcopy(who.identity).to(bench.device)
    score = likeness_score(who.memory.vectors.to(bench.device), int(who.targets[0]), identity)
    names, heat = [], []
    for number in heaviest(bench.planned):
        each = bench.planned[number]
        if each.lesion is not None and needs_company(each.lesion):
            continue  # one picture alone has no other to take from
        maps = grad_cam(
            bench.subject.module,
            images,
            sites,
            score,
            damage=lambda lesion=each.lesion: lesioned(  # type: ignore[misc]
                bench.subject.module, lesion, calibration=bench.calibration
            ),
        )
        names.append(condition_name(each))
        heat.append(np.stack([maps[site][0].cpu().numpy() for site in sites]))
    picture = torch.nn.functional.interpolate(
        image.float(), images.shape[-2:], mode="bilinear", antialias=True
    )
    shown = picture[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return GradCamMaps(tuple(names), tuple(sites), np.stack(heat), shown)


def condition_name(planned: Planned) -> str:
    """A lesion's name in figures: its series and dose."""
    return INTACT if planned.lesion is None else f"{planned.series} {planned.dose:g}"
