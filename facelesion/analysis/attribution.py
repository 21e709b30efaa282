"""Other ways to ask where in a picture an answer comes from, to compare Grad-CAM with; all through Captum.

Each gives maps (N, H, W) of the picture's size, the positive part of what it finds, summed over colours. What a network
does under a lesion depends on the picture's number, and these methods show it many variants of each picture: `damage`
is told for every row which picture it is of, so that all variants meet the same noise.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from facelesion.analysis.gradcam import Score, grad_cam
from facelesion.errors import Error

Scores = Callable[[torch.Tensor], Score]  # rows -> the score of the pictures that stand there
Damage = Callable[[nn.Module, torch.Tensor], AbstractContextManager[object]]  # network, rows -> its damage

_STEPS = 32
_WINDOW, _STRIDE = 1 / 7, 1 / 14  # of the picture's side: an eye, and half of one


def healthy(_module: nn.Module, _rows: torch.Tensor) -> AbstractContextManager[object]:
    """No damage."""
    return nullcontext()


def guided_grad_cam(
    module: nn.Module, images: torch.Tensor, sites: Sequence[str], scores: Scores, *, damage: Damage = healthy
) -> dict[str, torch.Tensor]:
    """Grad-CAM times guided backpropagation (Selvaraju et al. 2017; Springenberg et al. 2015), site by site.

    Guided backpropagation changes little when weights are randomised (Adebayo et al. 2018): it shows edges of the
    picture more than what the network learned.

    Raises:
        Error: the network has no `nn.ReLU`, whose gradient this method is about.
    """
    from captum.attr import GuidedBackprop

    if not any(isinstance(layer, nn.ReLU) for layer in module.modules()):
        raise Error("guided Grad-CAM changes how ReLUs are gone back through, and this network has none")
    rows = torch.arange(len(images))
    heat = grad_cam(
        module, images, sites, scores(rows), damage=lambda: damage(module, rows), normalise=False
    )
    apart = copy.deepcopy(module)
    for layer in apart.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # Captum goes back through what each was given
    with torch.enable_grad(), damage(apart, rows), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that its hooks will be removed afterwards
        back = GuidedBackprop(_Scored(apart, scores(rows))).attribute(images.detach().clone().requires_grad_(True))
    return {site: (back.detach() * each[:, None]).sum(1).relu() for site, each in heat.items()}


def integrated_gradients(
    module: nn.Module, images: torch.Tensor, scores: Scores, *, damage: Damage = healthy, steps: int = _STEPS
) -> torch.Tensor:
    """Integrated gradients (Sundararajan et al. 2017) from the mean colour (0 after preprocessing) to the picture."""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(_answering(module, len(images), scores, damage))
    with torch.enable_grad():
        found = method.attribute(images.detach().clone(), n_steps=steps, internal_batch_size=max(len(images), 32))
    return found.detach().sum(1).relu().float()


def occlusion(
    module: nn.Module, images: torch.Tensor, scores: Scores, *, damage: Damage = healthy
) -> torch.Tensor:
    """How much the score falls when a window of the mean colour covers a place (Zeiler & Fergus 2014).

    The window is a seventh of the picture's side, moved by half of itself; a pixel has the mean over its windows.
    """
    from captum.attr import Occlusion

    side = images.shape[-1]
    window, stride = max(1, round(_WINDOW * side)), max(1, round(_STRIDE * side))
    with torch.no_grad():
        found = Occlusion(_answering(module, len(images), scores, damage)).attribute(
            images, (3, window, window), (3, stride, stride), perturbations_per_eval=max(1, 64 // len(images))
        )
    return found.detach().sum(1).relu().float()


def _answering(
    module: nn.Module, images: int, scores: Scores, damage: Damage
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The score of variants of the pictures: Captum lays whole copies of the batch one after the other."""

    def answer(variants: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(variants)) % images
        with damage(module, rows):
            return scores(rows)(module(variants.clone()))

    return answer


class _Scored(nn.Module):
    """A network that answers with a score."""

    def __init__(self, network: nn.Module, score: Score) -> None:
        super().__init__()
        self.network, self.score = network, score

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.score(self.network(images))
