"""Grad-CAM: which parts of the image a layer's evidence for an answer comes from, intact or under a lesion.

Selvaraju et al. 2017 (ICCV), computed by Captum's `LayerGradCam`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from facelesion.errors import FacelesionError

Score = Callable[[torch.Tensor], torch.Tensor]


def grad_cam(
    module: nn.Module,
    images: torch.Tensor,
    sites: Sequence[str],
    score: Score,
    *,
    damage: Callable[[], AbstractContextManager[object]] = nullcontext,
    normalise: bool = True,
) -> dict[str, torch.Tensor]:
    """Heat maps of one score at several layers.

    At each layer the channels are weighted by the mean gradient of the score over positions and summed; what is
    negative is cut off. Under a lesion, activations and gradients are the damaged network's.

    Args:
        module: a network (N, 3, H, W) -> representation (N, D); its `site_aliases` are understood.
        images: float (N, 3, H, W), already preprocessed.
        sites: aliases ('conv5_3') or module paths whose output is (N, C, h, w).
        score: representation (N, D) -> one number per image (N,); see `class_score` and `likeness_score`.
        damage: called once for every site, it gives the context in which the network runs, so that each site
            sees the same noise: `lambda: lesioned(module, lesion, seed=0)`. A context that is already open
            works too, but a random lesion may go on to other noise with every site.
        normalise: each map is divided by its own largest value. The map then shows where, not how much: a dying
            network's map can be as bright as a healthy one's. False keeps Grad-CAM's own values.

    Returns:
        For each site float32 (N, H, W): upsampled to the image (bilinear), in [0, 1] if normalised. A map without
        positive evidence is zero everywhere.

    Raises:
        FacelesionError: images of another type or shape, or a site whose output is no map.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> heat = grad_cam(network, torch.rand(2, 3, 16, 16), ["1"], class_score(lambda x: x, 0))
        >>> heat["1"].shape
        torch.Size([2, 16, 16])
    """
    from captum.attr import LayerAttribution, LayerGradCam

    if images.ndim != 4 or not images.is_floating_point():
        raise FacelesionError(
            f"Grad-CAM takes preprocessed float images (N, 3, H, W), not {images.dtype} {tuple(images.shape)}"
        )
    heat = {}
    for site in sites:
        layer = _layer(module, site)
        # The image needs a gradient, else a frozen network leaves no trace to follow back.
        given = images.detach().clone().requires_grad_(True)
        method = LayerGradCam(lambda x: _scores(score, module(x), len(images)), layer)
        with damage(), torch.enable_grad(), _not_in_place(module):
            small = method.attribute(given, relu_attributions=True)
        if not isinstance(small, torch.Tensor) or small.ndim != 4:
            raise FacelesionError(f"{site} has no map to show: its output must be one tensor (N, C, h, w)")
        large = LayerAttribution.interpolate(small.detach(), images.shape[-2:], interpolate_mode="bilinear")
        large = large[:, 0].float()
        if normalise:
            top = large.flatten(1).amax(1)[:, None, None]
            large = torch.where(top > 0, large / top.clamp_min(torch.finfo(large.dtype).tiny), 0.0)
        heat[site] = large
    return heat


def class_score(readout: Callable[[torch.Tensor], torch.Tensor], target: int | torch.Tensor) -> Score:
    """The readout's evidence for one class: 'face', or the category of each image.

    Args:
        readout: representation (N, D) -> one logit per class (N, classes), such as a linear readout's `logits`.
        target: the class, or one class per image (N,).

    Example:
        >>> class_score(lambda x: 2 * x, 1)(torch.tensor([[1.0, 3.0]])).tolist()
        [6.0]
    """

    def score(representation: torch.Tensor) -> torch.Tensor:
        logits = readout(representation)
        which = torch.as_tensor(target, device=logits.device).expand(len(logits))
        return logits.gather(1, which[:, None])[:, 0]

    return score


def likeness_score(
    prototypes: torch.Tensor, target: int | torch.Tensor, identity: Callable[[torch.Tensor], torch.Tensor]
) -> Score:
    """How like a known person the face is: the cosine between its embedding and the person's prototype.

    Args:
        prototypes: (people, E), unit length.
        target: the person, or one person per image (N,).
        identity: representation (N, D) -> embedding (N, E).

    Example:
        >>> score = likeness_score(torch.eye(2), 1, identity=lambda x: x)
        >>> score(torch.tensor([[3.0, 4.0]])).tolist()
        [0.800000011920929]
    """

    def cosines(representation: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(identity(representation), dim=-1) @ prototypes.T

    return class_score(cosines, target)


def _scores(score: Score, representation: torch.Tensor, images: int) -> torch.Tensor:
    values = score(representation)
    if values.shape != (images,):
        raise FacelesionError(
            f"a score gives one number per image, ({images},), not {tuple(values.shape)}: pick one class"
        )
    return values


def _layer(module: nn.Module, site: str) -> nn.Module:
    aliases: dict[str, str] = getattr(module, "site_aliases", {})
    path = aliases.get(site, site)
    modules = dict(module.named_modules())
    if path not in modules or not path:
        import difflib

        near = difflib.get_close_matches(site, [*aliases, *filter(None, modules)], n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise FacelesionError(f"the network has no site {site!r}{hint}")
    return modules[path]


@contextmanager
def _not_in_place(module: nn.Module) -> Iterator[None]:
    """An in-place activation would overwrite the output of the layer before it, whose map is wanted."""
    changed = [part for part in module.modules() if getattr(part, "inplace", False) is True]
    for part in changed:
        part.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for part in changed:
            part.inplace = True  # type: ignore[assignment]
