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

    def unfold(self, plain: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Become a plain network of this width again, to learn on from it: the inverse of `folded`.

        Normalisations take mean and deviation from these pictures, kernels the size that they begin with; gains and
        shifts make up for both. So the answers are the plain network's, and what comes next learns as from the start.

        Args:
            plain: the network, or its `features`.
            images: preprocessed (N, 3, H, W), such as the first lesson.

        Returns:
            The pooled features (N, D) of these pictures.
        """
        sources = (layer for layer in plain.modules() if isinstance(layer, nn.Conv2d))
        with torch.no_grad():
            for layer in self.features:
                if isinstance(layer, nn.Conv2d):
                    source = next(sources)
                    own, new = (each.flatten(1).norm(dim=1) for each in (source.weight, layer.weight))
                    size = new.mean() / own.clamp_min(1e-6)
                    layer.weight.copy_(source.weight * size[:, None, None, None])
                    images = layer(images)
                elif isinstance(layer, nn.BatchNorm2d):
                    deviation = _take_statistics(layer, images.transpose(0, 1).flatten(1))
                    assert source.bias is not None and layer.running_mean is not None
                    layer.weight.copy_(deviation / size)
                    layer.bias.copy_(source.bias + layer.running_mean / size)
                    gain, shift = _gain_and_shift(layer)
                    images = images * gain[:, None, None] + shift[:, None, None]
                else:
                    images = layer(images)
            return torch.flatten(self.pool(images), 1)

    def first_blocks(self, count: int) -> nn.Sequential:
        """The first blocks of convolutions, each up to its pooling."""
        ends = [place + 1 for place, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        return self.features[: ([0, *ends])[count]]


def normalised_readout(before: int, answers: int) -> nn.Sequential:
    """A linear readout as it is trained: a normalisation, then the linear map."""
    return nn.Sequential(nn.BatchNorm1d(before), nn.Linear(before, answers))


def folded_readout(readout: nn.Sequential) -> nn.Linear:
    """The plain linear map that answers as a trained `normalised_readout` does in `eval` mode.

    But for features that hardly vary on the readout's own pictures (a deviation under a thirtieth of the median
    one's), such as a unit that speaks of things and is silent on faces. Divided by next to nothing, it would weigh a
    thousand times what others do, and any damage that wakes it would drown them. It gets no weight.

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
    assert norm.running_var is not None
    deviation = norm.running_var.sqrt()
    silent = deviation < deviation.median() / 30
    gain, shift = gain.masked_fill(silent, 0.0), torch.where(silent, norm.bias, shift)
    with torch.no_grad():
        plain.weight.copy_(linear.weight * gain)
        plain.bias.copy_(linear.bias + linear.weight @ shift)
    return plain.eval()


def unfold_readout(readout: nn.Sequential, plain: nn.Module, features: torch.Tensor) -> None:
    """Give a `normalised_readout` the answers of a plain one, with statistics of these features (N, D).

    Example:
        >>> plain, trained = nn.Linear(4, 2), normalised_readout(4, 2).eval()
        >>> features = torch.randn(9, 4)
        >>> unfold_readout(trained, plain, features)
        >>> torch.allclose(trained(features), plain(features), atol=1e-5)
        True
    """
    norm, linear = readout
    assert isinstance(norm, nn.BatchNorm1d) and isinstance(linear, nn.Linear) and isinstance(plain, nn.Linear)
    with torch.no_grad():
        deviation = _take_statistics(norm, features.T)
        assert norm.running_mean is not None
        norm.weight.fill_(1)
        norm.bias.zero_()
        linear.weight.copy_(plain.weight * deviation)
        linear.bias.copy_(plain.bias + plain.weight @ norm.running_mean)


def _take_statistics(norm: nn.BatchNorm2d | nn.BatchNorm1d, values: torch.Tensor) -> torch.Tensor:
    """Mean and variance of values (channels, N) become those of a normalisation; what it divides by."""
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(values.mean(1))
    norm.running_var.copy_(values.var(1))
    return torch.sqrt(norm.running_var + norm.eps)


def _gain_and_shift(norm: nn.BatchNorm2d | nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """A trained normalisation as x -> gain · x + shift."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return gain, norm.bias - gain * norm.running_mean
