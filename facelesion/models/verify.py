"""Does a converted file hold VGG-Face? What can be checked without the original, and with one photograph of a face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from facelesion.errors import Error
from facelesion.models.formats.layers import NAMES
from facelesion.models.formats.pytorch import TORCHVISION
from facelesion.models.formats.refusals import exchanged, imagenet
from facelesion.models.subject import Subject, from_file

# What the notebook printed for VGG-Face: units whose mean activation is at least 0.75 of the layer's largest, for one
# photograph of Labeled Faces in the Wild that shows one feature sharply and the rest blurred.
_CONV3_2 = (2, 16, 104, 110, 142, 144, 205, 219, 225, 231, 238)
_CONV4_2 = (12, 47, 170, 198, 256, 275, 479)
PRINTED: dict[str, dict[str, tuple[int, ...]]] = {
    "conv5_3": {"eyebrows": (21, 282), "eyes": (282,), "nose": (21, 282), "mouth": (282,)},
    "conv4_2": dict.fromkeys(("eyebrows", "eyes", "nose", "mouth"), _CONV4_2),
    "conv3_2": {
        "eyebrows": _CONV3_2,
        "eyes": tuple(unit for unit in _CONV3_2 if unit not in (142, 144)),
        "nose": _CONV3_2,
        "mouth": tuple(unit for unit in _CONV3_2 if unit != 144),
    },
}
FEATURES = ("eyebrows", "eyes", "nose", "mouth")
RESPONSIBLE = 0.75

_SCALES = (0.02, 50.0)  # of a kernel's spread over He's sqrt(2 / inputs)
_MOST_DEAD = 0.5  # share of a layer's units: decay leaves some dead in any trained network
_ALIKE = 1e-5
_CHANCE = 0.01


@dataclass(frozen=True)
class Check:
    """One line of the table: what was checked, whether it holds, and what was found."""

    what: str
    holds: bool
    found: str

    def __str__(self) -> str:
        return f"{'ok' if self.holds else 'FAILED':<7} {self.what:<22} {self.found}"


@dataclass(frozen=True)
class Verification:
    """All that was checked of one file; `str` is the table.

    Attributes:
        file: the file's name.
        checks: one line each.
        remark: what the checks cannot show.
    """

    file: str
    checks: tuple[Check, ...]
    remark: str

    def __str__(self) -> str:
        return "\n".join([self.file, *map(str, self.checks), self.remark])

    def demand(self) -> None:
        """Raise a Error that names the first check that failed."""
        failed = [check for check in self.checks if not check.holds]
        if failed:
            raise Error(
                f"{self.file}: {len(failed)} of {len(self.checks)} checks failed, {failed[0].what} first "
                f"({failed[0].found}): convert the original file again"
            )


@dataclass(frozen=True)
class Overlap:
    """How far a layer's most active units are those that the notebook printed.

    Attributes:
        layer: the layer's name.
        units: how many units it has.
        hits: of the k units printed for a feature, the share that is among the network's k most active; the mean over
            the four features.
        expected: what `hits` would be on average if the printed units were drawn by chance.
        probability: that a single feature, drawn so, would have at least as many hits as the four have on average.
        responsible: by feature, the units within 0.75 of the most active one.
        exchanged_colours: `hits` with red and blue exchanged.
    """

    layer: str
    units: int
    hits: float
    expected: float
    probability: float
    responsible: Mapping[str, tuple[int, ...]] = field(repr=False)
    exchanged_colours: float = float("nan")

    def check(self) -> Check:
        """The overlap as a line of the table; it holds where chance would hardly hit as often."""
        printed = len(PRINTED[self.layer]["eyebrows"])
        found = (
            f"{self.hits:.0%} of the notebook's {printed} units lead (chance {self.expected:.1%}, "
            f"p {self.probability:.1g}; colours exchanged {self.exchanged_colours:.0%})"
        )
        return Check(f"fingerprint {self.layer}", self.probability < _CHANCE, found)


def verify(file: str | Path, features: torch.Tensor | None = None) -> Verification:
    """Check a file of converted weights.

    Args:
        file: a safetensors file, as `convert` writes it.
        features: four pictures of one face, (4, 3, 224, 224), RGB in [0, 1], that show eyebrows, eyes, nose and mouth
            sharp and the rest blurred, as `facelesion.data.alone.features_alone` makes them. With them, the units that
            answer most to each are compared with those the notebook printed.

    Returns:
        The checks, failed or not; `demand()` raises if one failed.

    Raises:
        Error: the file cannot be loaded.
    """
    subject = from_file(Path(file), Path(file).stem)
    checks = [*_layout(subject), *_statistics(subject)]
    remark = (
        "Not checked: the fingerprint, which needs a photograph of a face (--photograph). "
        "An untrained network passes the rest."
    )
    if features is not None:
        checks += [overlap.check() for overlap in fingerprint(subject, features)]
        remark = (
            "The fingerprint is from the notebook's one photograph. Another face shifts it, most of all at conv5_3; "
            "far above chance is what the right weights give, and 100% is not to be expected."
        )
    return Verification(str(file), tuple(checks), remark)


def _layout(subject: Subject) -> list[Check]:
    about = subject.about
    kind = f"{about['architecture']}, width {float(about['width']):g}, {subject.size} pixels"
    origin = about.get("converted_from")
    return [
        Check("layout", float(about["width"]) == 1 and subject.size == 224, kind),
        Check(
            "origin",
            origin is not None,
            f"{origin}, {about.get('source_colour_order')} kept as {about.get('colour_order')}"
            if origin
            else "not said",
        ),
    ]


def _statistics(subject: Subject) -> list[Check]:
    tensors = dict(subject.module.state_dict())
    kernels = {
        name: tensors[f"{path}.weight"] for name, path in TORCHVISION.items() if f"{path}.weight" in tensors
    }
    if "head.weight" in subject.extra:
        kernels["fc8"] = subject.extra["head.weight"]
    scales, dead, twins = {}, {}, {}
    for name, kernel in kernels.items():
        inputs = kernel[0].numel()
        scales[name] = float(kernel.std()) / (2 / inputs) ** 0.5
        dead[name], twins[name] = _dead_and_repeated(kernel.flatten(1))
    odd = [name for name, scale in scales.items() if not _SCALES[0] < scale < _SCALES[1]]
    empty = [name for name, count in dead.items() if count > _MOST_DEAD * len(kernels[name])]
    repeated = [name for name, count in twins.items() if count]
    biases = tensors[f"{TORCHVISION['conv1_1']}.bias"]
    outputs = len(kernels["fc8"]) if "fc8" in kernels else None
    why = imagenet(biases, outputs)
    order = exchanged({name: kernels[name] for name in NAMES})
    return [
        Check(
            "scales", not odd,
            f"{min(scales.values()):.2g} to {max(scales.values()):.2g} of a random network's"
            + (f"; {odd[0]} has {scales[odd[0]]:.2g}" if odd else ""),
        ),
        Check(
            "dead filters", not empty,
            f"{sum(dead.values())}" + (f", {dead[empty[0]]} in {empty[0]}" if empty else ""),
        ),
        Check(
            "repeated filters", not repeated,
            f"{sum(twins.values())}" + (f", {twins[repeated[0]]} in {repeated[0]}" if repeated else ""),
        ),
        Check("not ImageNet's", why is None, why or "conv1_1 is neither of the two VGG16 known"),
        Check("order of layers", order is None, order or "nothing speaks against it"),
    ]  # fmt: skip


def _dead_and_repeated(rows: torch.Tensor) -> tuple[int, int]:
    """Filters of (almost) no weight, and filters that are another's copy up to a factor."""
    norms = torch.linalg.vector_norm(rows, dim=1)
    alive = norms > 1e-4 * norms.median().clamp_min(1e-12)
    # Copies give the same few projections; comparing neighbours in their order spares comparing all with all.
    directions = torch.randn(rows.shape[1], 8, generator=torch.Generator().manual_seed(0))
    shadows = (rows[alive] @ directions) / norms[alive, None]
    shadows = shadows[shadows[:, 0].argsort()]
    alike = (
        (shadows[1:] - shadows[:-1]).abs().amax(1) < _ALIKE * shadows.abs().max()
        if len(shadows) > 1
        else None
    )
    return int((~alive).sum()), 0 if alike is None else int(alike.sum())


def fingerprint(subject: Subject, features: torch.Tensor) -> list[Overlap]:
    """Compare the most active units with those the notebook printed.

    As there: one feature is shown sharp and the rest blurred, and the network gets values of 0 to 255 in its own order
    of colours with no mean taken off.

    Args:
        subject: the network, with the names of VGG-Face's layers.
        features: (4, 3, H, W), RGB in [0, 1]: eyebrows, eyes, nose and mouth of one face, each sharp by itself.

    Returns:
        One value for conv5_3, conv4_2 and conv3_2 each.

    Raises:
        Error: not four pictures.
    """
    if len(features) != len(FEATURES):
        raise Error(f"{len(features)} pictures of features: give {', '.join(FEATURES)}, in this order")
    stimuli = features * 255
    if subject.about.get("colour_order") == "BGR":
        stimuli = stimuli.flip(1)
    means = _mean_activations(subject.module, stimuli, tuple(PRINTED))
    other = _mean_activations(subject.module, stimuli.flip(1), tuple(PRINTED))
    return [_overlap(layer, means[layer], other[layer]) for layer in PRINTED]


def _mean_activations(
    module: nn.Module, images: torch.Tensor, layers: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Over places, (N, units), of layers by their names in the literature."""
    means: dict[str, torch.Tensor] = {}
    aliases: Mapping[str, str] = module.site_aliases  # type: ignore[assignment]

    def keep(layer: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            means[layer] = output.mean((2, 3))

        return hook

    handles = [module.get_submodule(aliases[layer]).register_forward_hook(keep(layer)) for layer in layers]  # type: ignore[arg-type]
    try:
        with torch.inference_mode():
            module(images)
    finally:
        for handle in handles:
            handle.remove()
    return means


def _overlap(layer: str, means: torch.Tensor, other: torch.Tensor) -> Overlap:
    from scipy.stats import hypergeom

    units = means.shape[1]
    known = {feature: printed for feature, printed in PRINTED[layer].items() if max(printed) < units}

    def hits(values: torch.Tensor) -> list[float]:
        shares = []
        for row, feature in zip(values, FEATURES, strict=True):
            if feature in known:
                leading = set(row.topk(len(known[feature])).indices.tolist())
                shares.append(len(leading & set(known[feature])) / len(known[feature]))
        return shares

    if not known:
        return Overlap(layer, units, 0.0, 0.0, 1.0, {})
    shares = hits(means)
    count = len(known["eyebrows"])
    mean = sum(shares) / len(shares)
    # The four features share most of a layer's activity, so they count as one drawing, not as four.
    probability = float(hypergeom.sf(np.floor(mean * count + 1e-9) - 1, units, count, count))
    responsible = {
        feature: tuple(torch.nonzero(row >= RESPONSIBLE * row.max()).flatten().tolist())
        for row, feature in zip(means, FEATURES, strict=True)
    }
    exchanged_hits = hits(other)
    return Overlap(
        layer, units, mean, sum(len(p) for p in known.values()) / len(known) / units, probability, responsible,
        sum(exchanged_hits) / len(exchanged_hits),
    )  # fmt: skip
