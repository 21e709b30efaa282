"""Grad-CAM: which parts of the image a layer's evidence for an answer comes from, intact or under a lesion.

Selvaraju et al. 2017 (ICCV). The tests hold it to Captum's `LayerGradCam`, which runs the network once for every layer;
here all layers share one forward and one backward pass. Sites are those of lesions: aliases and patterns, one call of
several, one output of several, an axis of units (`facelesion.lesions`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from facelesion.errors import NO_WAY_BACK, Error, no_way_back
from facelesion.lesions import LesionError, aliases
from facelesion.lesions import sites as list_sites
from facelesion.lesions.errors import NoSuchSite
from facelesion.lesions.locate import Site, find, pick, unit_axis, unwrap
from facelesion.sweep.trial import tensors

Score = Callable[[torch.Tensor], torch.Tensor]


def grad_cam(
    module: nn.Module,
    images: torch.Tensor,
    sites: Sequence[str],
    score: Score,
    *,
    damage: Callable[[], AbstractContextManager[object]] = nullcontext,
    normalise: bool = True,
    resize: bool = True,
) -> dict[str, torch.Tensor]:
    """Heat maps of one score at several layers.

    At each layer the channels are weighted by the mean gradient of the score over positions and summed; what is
    negative is cut off. Under a lesion, activations and gradients are the damaged network's. However many layers there
    are, the network runs forward once and backward once.

    Args:
        module: a network (N, 3, H, W) -> representation (N, D), or whatever else `score` takes.
        images: float (N, 3, H, W), already preprocessed.
        sites: as lesions take them ('conv5_3', 'features.29', 'relu[1]', 'layer4@-1'), whose output is a map: four
            axes, the first for images and one for units. Of a module that runs several times in one pass, the last
            time is shown unless the site says which.
        score: representation (N, D) -> one number per image (N,); see `class_score` and `likeness_score`.
        damage: gives the context in which the network runs: `lambda: lesioned(module, lesion, seed=0)`. A context
            that is already open works too.
        normalise: each map is divided by its own largest value. The map then shows where, not how much: a dying
            network's map can be as bright as a healthy one's. False keeps Grad-CAM's own values.
        resize: each map is brought to the image's size (`resized`). False leaves it as coarse as the layer is.

    Returns:
        For each site, by the name it was given (a pattern of several: by each one's own), float32 (N, H, W) or, not
        resized, (N, h, w); in [0, 1] if normalised. A map without positive evidence is zero everywhere.

    Raises:
        Error: images of another type or shape; a site that is none, does not run (so often), or whose output
            is no map; a score or network through which no gradient flows.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> heat = grad_cam(network, torch.rand(2, 3, 16, 16), ["1"], class_score(lambda x: x, 0))
        >>> heat["1"].shape
        torch.Size([2, 16, 16])
    """
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or not images.is_floating_point():
        given = (
            f"{images.dtype} {tuple(images.shape)}"
            if isinstance(images, torch.Tensor)
            else type(images).__name__
        )
        raise Error(f"Grad-CAM takes preprocessed float images (N, 3, H, W), not {given}")
    chosen = sites_called(module, sites)
    heat = {}
    # Inside `inference_mode` nothing keeps a trace to follow back, and nothing can be made to.
    with torch.inference_mode(False), torch.enable_grad(), damage():
        small = _small_maps(module, images, chosen, score)
    for name, each in small.items():
        large = each[:, 0].float()
        large = resized(large, images.shape[-2], images.shape[-1]) if resize else large
        if normalise:
            top = large.flatten(1).amax(1)[:, None, None]
            large = torch.where(top > 0, large / top.clamp_min(torch.finfo(large.dtype).tiny), 0.0)
        heat[name] = large
    return heat


def resized(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Maps (N, h, w) at the picture's size (N, height, width): bilinear, as Captum's `LayerAttribution.interpolate`."""
    return nn.functional.interpolate(maps[:, None], (height, width), mode="bilinear")[:, 0]


def sites_called(module: nn.Module, wanted: Sequence[str]) -> dict[str, Site]:
    """The places that the names stand for, by the name to give their maps; one line for a name that stands for none."""
    found: dict[str, Site] = {}
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if not isinstance(name, str):
            raise Error(f"a site is a name, not {name!r}: give a module's path or an alias")
        try:
            several = find(module, name)
        except NoSuchSite as error:
            known = [*aliases(module), *list_sites(module)]
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            raise Error(
                f"the network has no site {name!r}; did you mean {', '.join(near)}?" if near else str(error)
            ) from None
        except LesionError as error:
            raise Error(str(error)) from None
        found |= {name: several[0]} if len(several) == 1 else {str(site): site for site in several}
    return found


def _small_maps(
    module: nn.Module, images: torch.Tensor, sites: Mapping[str, Site], score: Score
) -> dict[str, torch.Tensor]:
    """Grad-CAM's own values at every site, by name: (N, 1, h, w) of the site's own size."""
    inside = [name for name, value in module.state_dict().items() if value.is_inference()]
    if inside:
        raise Error(
            f"{inside[0]} was made inside torch.inference_mode, where no gradient can flow: make the network outside"
        )
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in sites}
    layers = {name: unwrap(module).get_submodule(site.path) for name, site in sites.items()}
    handles = [
        layers[name].register_forward_hook(_keeper(site, kept[name])) for name, site in sites.items()
    ]
    # The image needs a gradient, else a frozen network leaves no trace to follow back; a copy may be changed in place.
    root = images.detach().clone().requires_grad_(True)
    try:
        representation = module(root.clone())
        values = _scores(score, representation, len(images))
        y = {name: _of_call(kept[name], site) for name, site in sites.items()}
        channel = {name: _unit_axis(layers[name], y[name], site, len(images)) for name, site in sites.items()}
        if not values.requires_grad and any(each.requires_grad for each in tensors(representation)):
            raise Error("no gradient flows through the score: it must not detach what it is given")
        # Where a lesion has cut the way from a site to the answer, there is no evidence.
        slopes = _mean_slopes(values, root, y, channel) if values.requires_grad and y else {}
    except LesionError as error:
        raise Error(str(error)) from None
    except RuntimeError as error:
        if no_way_back(error):
            raise Error(NO_WAY_BACK) from None
        if "nference tensor" not in str(error):
            raise
        raise Error(
            f"{', '.join(sites)}: the score or the network uses tensors made inside torch.inference_mode: make them "
            "outside, or give their .clone() from outside"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: _weighted(y[name].detach().movedim(axis, 1), slopes.get(name)) for name, axis in channel.items()
    }


def _mean_slopes(
    values: torch.Tensor, root: torch.Tensor, y: Mapping[str, torch.Tensor], channel: Mapping[str, int]
) -> dict[str, torch.Tensor]:
    """Mean slope of the score by channel (N, C) at every site that it hangs on.

    Taken as each site's gradient passes by: to hold all of them until the end would take as much memory again, and
    longer than the maps themselves.
    """
    found: dict[str, torch.Tensor] = {}

    def passing(name: str) -> Callable[[torch.Tensor], None]:
        def note(slope: torch.Tensor) -> None:
            found[name] = slope.movedim(channel[name], 1).mean((2, 3))

        return note

    handles = [each.register_hook(passing(name)) for name, each in y.items()]
    # What a lesion has put in a site's place hangs on no picture: the way back ends there.
    ends = [root, *(each for each in y.values() if each.is_leaf)]
    try:
        torch.autograd.grad(values.sum(), ends, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _keeper(site: Site, kept: list[torch.Tensor]) -> Callable[[nn.Module, object, object], object]:
    """A hook that keeps a site's output of every call, and lets what comes next work on a copy."""

    def keep(layer: nn.Module, _inputs: object, output: object) -> object:
        kept.append(output)  # type: ignore[arg-type]
        if site.call is not None and len(kept) != site.call + 1:
            return None
        if not torch.is_grad_enabled():
            raise Error(
                f"{site}: the network runs it without gradients (torch.no_grad): take that out"
            )
        whole, rebuild = pick(output, site.output, site)
        # What a lesion has put in its place depends on nothing before; what comes after depends on it all the same.
        kept[-1] = whole if whole.requires_grad else whole.detach().clone().requires_grad_(True)
        # What comes next may work in place (every ReLU of torchvision does): on a copy, and the map stays.
        return rebuild(kept[-1].clone())

    return keep


def _weighted(y: torch.Tensor, slope: torch.Tensor | None) -> torch.Tensor:
    """Channels (N, C, h, w) weighted by their mean slopes (N, C) and summed, what is negative cut off: (N, 1, h, w)."""
    if slope is None:
        return torch.zeros_like(y[:, :1])
    return torch.einsum("nc,nchw->nhw", slope, y)[:, None].relu().detach()


def _of_call(kept: list[torch.Tensor], site: Site) -> torch.Tensor:
    """The output of the call that is wanted; the last one where the site does not say."""
    if not kept:
        raise Error(f"{site} never runs in this network: no map can be shown of it")
    if site.call is not None and site.call >= len(kept):
        raise Error(
            f"{site}: it runs {len(kept)} times in one pass, numbered from 0: take another number"
        )
    return kept[-1 if site.call is None else site.call]


def _unit_axis(layer: nn.Module, y: torch.Tensor, site: Site, images: int) -> int:
    """Which axis of a map holds its units."""
    if site.heads or y.ndim != 4:
        raise Error(f"{site} has no map to show: its output must be one tensor (N, C, h, w)")
    axis = unit_axis(layer, y, site)
    if axis == 0 or len(y) != images:
        raise Error(
            f"{site} has no map to show: the first axis of its output must count the images"
        )
    return axis


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
        which = _outside(torch.as_tensor(target).to(logits.device, non_blocking=True)).expand(len(logits))
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
        return nn.functional.normalize(identity(representation), dim=-1) @ _outside(prototypes).T

    return class_score(cosines, target)


def _outside(values: torch.Tensor) -> torch.Tensor:
    """Numbers made inside `inference_mode`, where gradients may pass by them."""
    return values.clone() if values.is_inference() and not torch.is_inference_mode_enabled() else values


def _scores(score: Score, representation: torch.Tensor, images: int) -> torch.Tensor:
    values = score(representation)
    if not isinstance(values, torch.Tensor) or values.shape != (images,):
        given = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
        raise Error(f"a score gives one number per image, ({images},), not {given}: pick one class")
    return values
