"""VGG16 with batch normalisation for training, folded into the plain network afterwards.

Thirteen plain convolutions on small data barely train; with batch normalisation (Ioffe & Szegedy 2015) they do. A
trained normalisation is linear, so it disappears into the convolution before it: what is published, damaged and
measured is plain VGG16.
"""

from __future__ import annotations

import torch
from torch import nn

from facelesion.models.vgg import BLOCKS, VGGFace, channels


class NormalisedVGG(nn.Module):
    """`VGGFace` without a head, as it is trained: each convolution followed by batch normalisation.

    Args:
        width: factor on the number of channels.
        embedding: size of the identity embedding, a linear map of the pooled features.

    Call it with preprocessed (N, 3, H, W); it answers the pooled features (N, D). `embed` makes embeddings of those.

    Example:
        >>> network = NormalisedVGG(width=0.125, embedding=16).eval()
        >>> images = torch.randn(2, 3, 64, 64)
        >>> plain, identity = network.folded()
        >>> torch.allclose(identity(plain(images)), network.embed(network(images)), atol=1e-4)
        True
    """

    def __init__(self, width: float = 1.0, embedding: int = 128) -> None:
        super().__init__()
        self.width = width
        layers: list[nn.Module] = []
        before = 3
        for (convolutions, _), here in zip(BLOCKS, channels(width), strict=True):
            for _ in range(convolutions):
                layers += [
                    nn.Conv2d(before, here, kernel_size=3, padding=1, bias=False),
                    nn.BatchNorm2d(here),
                    nn.ReLU(inplace=True),
                ]
                before = here
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.identity = normalised_readout(before, embedding)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.flatten(self.pool(self.features(images)), 1)

    def embed(self, pooled: torch.Tensor) -> torch.Tensor:
        """Identity embeddings (N, E) of pooled features (N, D)."""
        return self.identity(pooled)

    def folded(self) -> tuple[VGGFace, nn.Linear]:
        """The plain network and its identity readout, which answer the same as this one in `eval` mode."""
        plain = VGGFace(self.width, outputs=None)
        targets = [layer for layer in plain.features if isinstance(layer, nn.Conv2d)]
        layers = list(self.features)
        position = 0
        with torch.no_grad():
            for target in targets:
                while not isinstance(layers[position], nn.Conv2d):
                    position += 1
                convolution, norm = layers[position : position + 2]
                assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
                gain, shift = _gain_and_shift(norm)
                target.weight.copy_(convolution.weight * gain[:, None, None, None])
                assert target.bias is not None
                target.bias.copy_(shift)
                position += 1
        return plain.eval(), folded_readout(self.identity)


def normalised_readout(before: int, answers: int) -> nn.Sequential:
    """A linear readout as it is trained: a normalisation, then the linear map."""
    return nn.Sequential(nn.BatchNorm1d(before), nn.Linear(before, answers))


def folded_readout(readout: nn.Sequential) -> nn.Linear:
    """The plain linear map that answers as a trained `normalised_readout` does in `eval` mode.

    Example:
        >>> trained = normalised_readout(4, 2).eval()
        >>> features = torch.randn(3, 4)
        >>> torch.allclose(folded_readout(trained)(features), trained(features), atol=1e-5)
        True
    """
    norm, linear = readout
    assert isinstance(norm, nn.BatchNorm1d) and isinstance(linear, nn.Linear)
    gain, shift = _gain_and_shift(norm)
    plain = nn.Linear(linear.in_features, linear.out_features)
    with torch.no_grad():
        plain.weight.copy_(linear.weight * gain)
        plain.bias.copy_(linear.bias + linear.weight @ shift)
    return plain.eval()


def _gain_and_shift(norm: nn.BatchNorm2d | nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """A trained normalisation as x -> gain · x + shift."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return gain, norm.bias - gain * norm.running_mean
