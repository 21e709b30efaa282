"""A network's weights drawn anew from the top down: the check that maps show what it learned (Adebayo et al. 2018).

A map that stays as it was when the weights are no longer those that were trained shows the picture, not the network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from facelesion.errors import Error


def randomised_from_the_top(module: nn.Module, image: torch.Tensor, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Copies of a network in which ever more layers, the last that ran first, have weights that nobody trained.

    A layer's weights are drawn as PyTorch draws them; where it does not say how, normal with their own mean and
    deviation.

    Args:
        module: the network; it stays as it is.
        image: float (1, 3, H, W), preprocessed: shows in which order the layers run.
        seed: of the draws.

    Yields:
        the layer that was drawn last, and the network: the same object each time, so use it before going on.

    Raises:
        Error: no layer has weights.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
        >>> [name for name, _ in randomised_from_the_top(network, torch.zeros(1, 3, 8, 8))]
        ['3', '0']
    """
    apart = copy.deepcopy(module)
    order: dict[str, None] = {}
    handles = [
        layer.register_forward_hook(lambda _layer, _in, _out, name=name: order.update({name: None}))
        for name, layer in apart.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            apart(image)
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise Error("no layer of this network has weights: nothing can be drawn anew")
    for number, name in enumerate(reversed(order)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 10_000 + number)
            _draw(apart.get_submodule(name))
        yield name, apart


def _draw(layer: nn.Module) -> None:
    draw = getattr(layer, "reset_parameters", None)
    if callable(draw) and not isinstance(layer, nn.modules.batchnorm._NormBase):
        draw()
        return
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            parameter.copy_(float(parameter.mean()) + spread * torch.randn_like(parameter))


def rank_likeness(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """How alike maps (N, h, w) rank their places: Spearman's correlation of each pair (N,), not a number of a flat map.

    Example:
        >>> rank_likeness(torch.tensor([[[0.0, 1, 4]]]), torch.tensor([[[0.0, 5, 6]]]))
        tensor([1.])
    """
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(each.flatten(1).double().numpy(), axis=1)) for each in (one, other)]
    centred = [each - each.mean(1, keepdim=True) for each in ranks]
    lengths = [each.norm(dim=1) for each in centred]
    product = (centred[0] * centred[1]).sum(1) / (lengths[0] * lengths[1])
    return torch.where((lengths[0] > 0) & (lengths[1] > 0), product, torch.nan).float()
