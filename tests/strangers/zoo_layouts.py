"""Strangers whose images or units lie on other axes than one would guess."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import at, pictures, stranger

FUSED = "torch's fused path skips what is inside an encoder layer"


@stranger(
    pictures(3, 5, 8),
    at("embed", 2),
    at("encoder.layers.0", 2, rows=1),
    at("encoder.layers.1.linear1", 2, rows=1),
    at("encoder.layers.0.self_attn", 2, rows=1, output=0),
    at("encoder.layers.1.norm2", 2, rows=1),
    at("out"),
    prune=("embed", "encoder.layers.1.linear2", "out"),
)
class SequenceFirst(nn.Module):
    """`nn.TransformerEncoder` in its default layout, with time first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 2)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(x).transpose(0, 1)).mean(0))


@stranger(
    pictures(3, 3, 8),
    at("encoder.layers.0", 2, rows=1),
    at("encoder.layers.1.linear1", 2, rows=1),
    at("out"),
    prune=("encoder.layers.1.linear2",),
)
class SequenceAsLongAsTheBatch(SequenceFirst):
    """Time first, and as many tokens as images, so that shapes do not tell which is which."""


@stranger(
    pictures(3, 4, 8),
    at("encoder.layers.0", 2),
    at("encoder.layers.1.linear1", 2),
    at("encoder.layers.1.self_attn", 2, output=0),
    at("encoder.norm", 2),
    prune=("encoder.layers.0.linear1", "out"),
)
class FusedEncoder(nn.Module):
    """`nn.TransformerEncoder`, batch first, norm first, which torch runs fused in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(x)[:, 0])


class ResidualAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn, self.ln_1, self.ln_2 = (
            nn.MultiheadAttention(width, 2),
            nn.LayerNorm(width),
            nn.LayerNorm(width),
        )
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


@stranger(
    pictures(3, 3, 8, 8),
    at("conv1"),
    at("blocks.0", 2, rows=1),
    at("blocks.0.attn", 2, rows=1, output=0),
    at("blocks.1.mlp.1", 2, rows=1),
    at("blocks.1.ln_2", 2, rows=1),
    at("ln_post"),
    prune=("conv1", "blocks.1.mlp.0"),
)
class ClipLike(nn.Module):
    """Patches, a class token, and (tokens, images, width) inside, as in CLIP's image encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(8))
        self.positions = nn.Parameter(torch.randn(5, 8))
        self.blocks = nn.Sequential(ResidualAttention(8), ResidualAttention(8))
        self.ln_post = nn.LayerNorm(8)
        self.projection = nn.Parameter(torch.randn(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).flatten(2).transpose(1, 2)
        token = self.token + torch.zeros(len(x), 1, 8)
        x = torch.cat([token, x], 1) + self.positions
        x = self.blocks(x.permute(1, 0, 2)).permute(1, 0, 2)
        return self.ln_post(x[:, 0]) @ self.projection


@stranger(
    pictures(3, 6, 5, 5),
    at("depthwise"),
    at("norm", 3),
    at("wide", 3),
    at("act@3", 3),
    at("narrow", 3),
    prune=("depthwise", "wide", "narrow"),
)
class ConvNeXtBlock(nn.Module):
    """A ConvNeXt block: its norm and its linear layers see channels last, and the map is as wide as some layers."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm, self.wide, self.act, self.narrow = (
            nn.LayerNorm(6),
            nn.Linear(6, 5),
            nn.GELU(),
            nn.Linear(5, 6),
        )
        self.scale = nn.Parameter(torch.rand(6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(self.act(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class LayerNorm2d(nn.LayerNorm):
    """As torchvision's."""

    def forward(self, input: Tensor) -> Tensor:
        x = input.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


@stranger(pictures(3, 3, 6, 6), at("0"), at("1"), at("2"), prune=("0",))
def ChannelsFirstNorm() -> nn.Module:
    """torchvision's LayerNorm2d, on maps that are as wide as they have channels (ConvNeXt-T at 384 px)."""
    norm = LayerNorm2d(6)
    nn.init.normal_(norm.weight)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), norm, nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


class OwnLayerNorm(nn.Module):
    """ConvNeXt's own LayerNorm: a plain module, which normalises axis 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        return self.weight[:, None, None] * x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()


@stranger(pictures(3, 3, 6, 6), at("1"), at("3"), prune=("0",))
def HandMadeNorm() -> nn.Module:
    """A hand-made norm over channels, and a norm over (channels, height, width)."""
    whole = nn.LayerNorm((4, 6, 6))
    nn.init.normal_(whole.weight)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), OwnLayerNorm(6), nn.Conv2d(6, 4, 1), whole, nn.Flatten()
    )


@stranger(
    pictures(3, 4, 5),
    at("embed", 2),
    at("lstm", 2, rows=1, output=0),
    at("lstm->1.0", 2, rows=1, output=(1, 0)),
    at("out"),
    prune=("embed", "out"),
)
class TimeFirstLSTM(nn.Module):
    """An LSTM with time first, read at its outputs and its states."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Linear(5, 6), nn.LSTM(6, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, (state, _) = self.lstm(self.embed(x).transpose(0, 1))
        return self.out(y.mean(0) + state[-1])


@stranger(
    pictures(3, 4, 5),
    at("gru", 2, output=0),
    at("gru->1", 2, rows=1, output=1),
    at("relu", 2),
    prune=("out",),
)
class BatchFirstGRU(nn.Module):
    """A GRU of two layers and two directions, batch first; its states still have the layers first."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.relu, self.out = nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, state = self.gru(x)
        return self.out(self.relu(y).mean(1)) + state.sum((0, 2))[:, None]


@stranger(
    pictures(3, 4, 5),
    at("cell", output=0),
    at("cell[2]->1", output=1),
    at("out[1]"),
    at("out"),
    prune=("out",),
)
class UnrolledCell(nn.Module):
    """An LSTM cell in a loop over time: one module, many calls, a pair as output."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = c = torch.zeros(len(x), 6)
        answers = []
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
            answers.append(self.out(h))
        return torch.stack(answers, 1).mean(1)


@stranger(
    pictures(3, 4, 9),
    at("0"),
    at("1"),
    at("2@1"),
    at("3"),
    at("4"),
    prune=("0", "4"),
)
def Sound() -> nn.Module:
    """One-dimensional convolutions and batch norm; a ReLU between them has its units on axis 1."""
    return nn.Sequential(
        nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 5, 2), nn.Flatten(),
        nn.Linear(10, 3),
    )  # fmt: skip


@stranger(pictures(3, 2, 4, 5, 5), at("0"), at("1"), at("2"), at("4"), prune=("0", "3"))
def Film() -> nn.Module:
    """Three-dimensional convolutions."""
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.ConvTranspose3d(4, 3, 2), nn.InstanceNorm3d(3),
        nn.AdaptiveAvgPool3d(2), nn.Flatten(),
    )  # fmt: skip


@stranger(
    pictures(3, 4, 6),
    at("norm", 2),
    at("tokens.0", 2),
    at("tokens.2", 2),
    at("channels.1", 2),
    prune=("tokens.0", "channels.2"),
)
class Mixer(nn.Module):
    """MLP-Mixer: linear layers over channels, and over tokens with the axes exchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.tokens = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 4))
        self.channels = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return (x + self.channels(x)).mean(1)


@stranger(
    pictures(3, 3, 8),
    at("attention", 2, output=0),
    at("attention->1@2", 2, output=1),
    at("out", 2),
    prune=("out",),
)
class AttentionWithWeights(nn.Module):
    """`nn.MultiheadAttention`, batch first, called by keywords, whose weights are used too."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, weights = self.attention(query=x, key=x, value=x)
        return self.out(y).mean(1) + weights.square().sum((1, 2))[:, None]


@stranger(
    pictures(3, 4, 8),
    at("decoder.layers.0", 2),
    at("decoder.layers.0.linear1", 2),
    at("read", 2),
    at("classes", 2),
    prune=("read", "decoder.layers.0.linear2", "classes"),
)
class LearnedQueries(nn.Module):
    """DETR: learned queries, the same for every image, handed on by `expand`."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(5, 8))
        self.read = nn.Linear(8, 8)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, batch_first=True), 1)
        self.classes = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.queries.expand(x.shape[0], -1, -1)
        return self.classes(self.decoder(queries, self.read(x))).flatten(1)


@stranger(
    pictures(3, 5, 6),
    at("attention", 2, rows=1, output=0),
    at("mlp.1", 2, rows=1),
    at("out"),
    prune=("mlp.0", "out"),
)
class SequenceFirstQueries(nn.Module):
    """DETR's first code: queries `unsqueeze(1).repeat(1, images, 1)`, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Embedding(4, 6)
        self.attention = nn.MultiheadAttention(6, 2)
        self.mlp, self.out = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 6)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        memory = x.permute(1, 0, 2)
        queries = self.queries.weight.unsqueeze(1).repeat(1, x.size(0), 1)
        y = queries + self.attention(queries, memory, memory)[0]
        return self.out((y + self.mlp(y)).mean(0))


@stranger(
    pictures(3, 6, 5),
    at("project", 2),
    at("cross", 2, output=0),
    at("mlp.0", 2),
    prune=("project", "mlp.2"),
)
class PerceiverLike(nn.Module):
    """Perceiver: a learned array of latents, expanded, reads the image again and again through shared modules."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, 3, 6))
        self.project, self.cross = nn.Linear(5, 6), nn.MultiheadAttention(6, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        x, y = self.project(x), self.latents.expand(len(x), -1, -1)
        for _ in range(2):
            y = y + self.cross(y, x, x)[0]
            y = y + self.mlp(y)
        return y.mean(1)


@stranger(
    torch.tensor([[1, 4, 2, 0], [3, 3, 1, 2], [5, 0, 4, 4]]),
    at("words", 2),
    at("block", 2),
    at(
        "places",
        rows=None,
        random="positions have no images, so noise has no image number",
        together="positions have no rows that several lesions could share",
        relative_shift="",
    ),
    at("out"),
    prune=("words", "out"),
)
class WordsAndPlaces(nn.Module):
    """Whole numbers as input, and embeddings of positions, which no image has of its own (as many as images + 1)."""

    def __init__(self, length: int = 4) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(6, 8), nn.Embedding(length, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.words(x) + self.places(torch.arange(x.shape[1]))
        return self.out(self.block(y)[:, 0])


@stranger(
    torch.tensor([[1, 4, 2], [3, 3, 1], [5, 0, 4]]),
    at(
        "places",
        rows=None,
        random="positions have no images, so noise has no image number",
        together="positions have no rows that several lesions could share",
    ),
    at("out"),
)
class AsManyPlacesAsImages(WordsAndPlaces):
    """Positions that look like images, since there are as many."""

    def __init__(self) -> None:
        super().__init__(3)


@stranger(
    torch.tensor([[1, 4, 2, 0], [3, 3, 1, 2], [5, 0, 4, 4]]), at("bag"), at("relu"), prune=("bag", "out")
)
class Bag(nn.Module):
    """`nn.EmbeddingBag`: whole numbers in, one vector an image out."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.relu, self.out = nn.EmbeddingBag(6, 8, mode="sum"), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.bag(x)))


@stranger(pictures(3, 3, 4, 4), at("0"), at("1"), at("3@1"), at("4"), prune=("0", "4"))
def Upscaler() -> nn.Module:
    """Pixel shuffle turns groups of channels into places, and back."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(2, 4, 3, padding=1), nn.PReLU(4),
        nn.PixelUnshuffle(2),
        nn.Conv2d(16, 2, 1),
    )  # fmt: skip


class Excite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.fc1, self.fc2 = nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 3, 1), nn.Linear(3, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc1(self.pool(x)).view(x.size(0), -1)
        return x * torch.sigmoid(self.fc2(F.relu(y))).view(x.size(0), x.size(1), 1, 1).expand_as(x)


@stranger(pictures(3, 3, 5, 5), at("0"), at("1.pool"), at("1.fc2"), at("1"), at("2"), prune=("0", "1.fc1"))
def SqueezeExcite() -> nn.Module:
    """Squeeze and excite: a gate made of the very units that it multiplies."""
    return nn.Sequential(nn.Conv2d(3, 6, 3), Excite(), nn.Conv2d(6, 3, 1), nn.Flatten())


@stranger(
    pictures(3, 4, 6),
    at("0", 2),
    at("1@1"),
    at("1@-2"),
    at("1@2", 2),
    prune=("0",),
)
def NamedAxes() -> nn.Module:
    """An output whose units its user may take to be either axis."""
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Flatten(), nn.Linear(20, 2))


def _tokens(output: Any) -> Tensor:
    return output.unflatten(0, (-1, 4))


@stranger(
    pictures(3, 4, 6),
    at("0", 2),
    at("2"),
    answer=_tokens,
    prune=("0",),
)
def FlatOutput() -> nn.Module:
    """The answers of all tokens of all images in one axis, as for a loss over words."""
    return nn.Sequential(nn.Linear(6, 5), nn.Flatten(0, 1), nn.Linear(5, 3))
