"""The face space as an instrument: caricatures, anti-faces, morphs, exchanged features, distractors, looks.

A face is a vector from the average face, so experiments on faces are arithmetic on vectors (Valentine 1991).
All functions are pure; `FaceSpace.render` turns the vectors they give into pictures with exact landmarks.

    space = FaceSpace.load()
    ada, bo = space.people(2, seed=1)
    images, landmarks = space.render(np.stack([ada, caricature(ada, 1.5), anti_face(ada), *morph(ada, bo,
    5)]))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from facelesion.data.facespace import CANVAS, CROP, MARGIN, VARIABILITY, FaceSpace
from facelesion.errors import Error

Array = npt.NDArray[np.floating]

_FEATURE_REACH = 9.0  # how far beyond a feature its exchange fades out, pixels of the crop
_EDGE = 2.0  # softness of the edge where pixels of one face give way to another's, pixels


def caricature(people: Array, strength: float) -> Array:
    """Exaggerate what tells a face from the average: the vectors (..., K) times `strength`.

    Above 1 a caricature, 1 the face itself, 0 the average face, below 0 an anti-face.

    Example:
        >>> caricature(np.array([1.0, -2.0]), 1.5).tolist()
        [1.5, -3.0]
    """
    return np.asarray(people) * strength


def anti_face(people: Array, strength: float = 1.0) -> Array:
    """The opposite of each face (..., K), on the other side of the average (Leopold, O'Toole, Vetter & Blanz 2001)."""
    return caricature(people, -strength)


def morph(first: Array, second: Array, steps: int | Sequence[float]) -> Array:
    """Faces on the way from one (K,) to another (K,): vectors (steps, K).

    Args:
        first, second: face vectors.
        steps: how many, both ends included; or the share of the second face in each.

    Raises:
        Error: a number of steps below two.

    Example:
        >>> morph(np.zeros(2), np.array([2.0, 4.0]), 3).tolist()
        [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
    """
    if isinstance(steps, int) and steps < 2:
        raise Error(f"morph: {steps} steps: at least the two ends are needed")
    share = np.linspace(0, 1, steps) if isinstance(steps, int) else np.asarray(steps, float)
    return (1 - share[:, None]) * np.asarray(first) + share[:, None] * np.asarray(second)


def likeness(space: FaceSpace, first: Array, second: Array) -> Array:
    """How alike people (..., K) are: the cosine of their vectors, each direction measured in its own standard
    deviation.

    1 is the same person, 0 is what two people have on average, -1 an anti-face.
    """
    one, two = _whitened(space, first), _whitened(space, second)
    return (one * two).sum(-1) / (np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1))


def distractors(space: FaceSpace, target: Array, count: int, similarity: float, seed: int = 0) -> Array:
    """New people who are as like a target as asked, and exactly as distinctive.

    Args:
        space: the face space.
        target: (K,) a person.
        count: how many.
        similarity: their `likeness` to the target, from -1 to 1; 0 gives people unrelated to the target.
        seed: another seed, other people.

    Returns:
        Vectors (count, K). A recogniser mistakes them for the target the more often, the higher the
        similarity.

    Raises:
        Error: a similarity below -1 or above 1.

    Example:
        >>> space = FaceSpace.load()
        >>> target = space.people(1, seed=3)[0]
        >>> np.round(likeness(space, distractors(space, target, 2, similarity=0.6), target), 4).tolist()
        [0.6, 0.6]
    """
    if not -1 <= similarity <= 1:
        raise Error(f"distractors: similarity {similarity} must be between -1 and 1")
    own = _whitened(space, target)
    length = np.linalg.norm(own)
    others = _whitened(space, space.people(count, seed=seed))
    others = others - (others @ own)[:, None] * own / length**2
    others = others / np.linalg.norm(others, axis=1, keepdims=True) * length
    mixed = similarity * own + np.sqrt(1 - similarity**2) * others
    return (mixed @ space.between.T).astype(np.float32)


# --- looks: expression, light and pose
# ---------------------------------------------------------------------------


def _between_points(upper: int, lower: int, axis: int) -> Callable[[FaceSpace], Array]:
    """The gradient of a distance between two landmarks along x (0) or y (1)."""

    def gradient(space: FaceSpace) -> Array:
        shape = space.shape_components[:, lower, axis] - space.shape_components[:, upper, axis]
        return np.concatenate([np.zeros(space.texture_count), shape])

    return gradient


def _light(weight: Callable[[Array, Array], Array]) -> Callable[[FaceSpace], Array]:
    """The gradient of the face's brightness, weighted by place: `weight(x, y)`, each from -1 to 1 over the crop."""

    def gradient(space: FaceSpace) -> Array:
        along = (np.arange(CANVAS) - MARGIN) / (CROP - 1) * 2 - 1
        x, y = np.meshgrid(along, along)
        # The middle of the crop: the face, not what is behind it.
        inside = np.exp(-2 * (x**2 + y**2))
        luma = space.texture_components[:, : CANVAS * CANVAS]
        texture = luma @ (inside * weight(x, y)).ravel() / inside.sum()
        return np.concatenate([texture, np.zeros(space.dimensions - space.texture_count)])

    return gradient


def _turn(space: FaceSpace) -> Array:
    nose, left, right = (space.shape_components[:, point, 0] for point in (1, 234, 454))
    return np.concatenate([np.zeros(space.texture_count), nose - (left + right) / 2])


def _nod(space: FaceSpace) -> Array:
    nose, left, right = (space.shape_components[:, point, 1] for point in (1, 234, 454))
    return np.concatenate([np.zeros(space.texture_count), nose - (left + right) / 2])


# What a look changes, as the gradient of one number: mouth opening, width of the mouth, height of the brows
# above the eyes, place of the nose between the face's edges, brightness and where it comes from.
LOOKS: Mapping[str, Callable[[FaceSpace], Array]] = {
    "mouth open": _between_points(13, 14, axis=1),
    "smile": _between_points(61, 291, axis=0),
    "brows up": _between_points(105, 159, axis=1),
    "turned right": _turn,
    "turned down": _nod,
    "bright": _light(lambda x, y: np.ones_like(x)),
    "light from the right": _light(lambda x, y: x),
    "light from above": _light(lambda x, y: -y),
}


def look_direction(space: FaceSpace, look: str) -> Array:
    """How a face vector (K,) changes, for one and the same person, when a look grows by one standard
    deviation.

    It is the expected change given the within-person covariance, so what goes with it in photographs goes
    with it here: a smile widens the mouth and also lifts the cheeks. "right" and "left" are the viewer's.

    Args:
        space: the face space.
        look: one of `LOOKS`.

    Raises:
        Error: no such look.
    """
    if look not in LOOKS:
        raise Error(f"no look {look!r}: take one of {', '.join(LOOKS)}")
    response = space.within.T @ LOOKS[look](space)
    return space.within @ response / np.linalg.norm(response)


def with_looks(space: FaceSpace, people: Array, looks: Mapping[str, float]) -> Array:
    """Give people (..., K) expressions, light and pose, in standard deviations of their own variation.

    Raises:
        Error: no such look.

    Example:
        >>> space = FaceSpace.load()
        >>> ada = space.people(1, seed=1)
        >>> with_looks(space, ada, {"smile": 1.5, "light from the right": -1}).shape == ada.shape
        True
    """
    moved = np.asarray(people)
    for look, amount in looks.items():
        moved = moved + amount * look_direction(space, look)
    return moved.astype(np.float32)


# --- exchanged features
# --------------------------------------------------------------------------------------------


def exchange_feature(
    space: FaceSpace,
    receivers: Array,
    donors: Array,
    feature: str,
    *,
    shape: bool = True,
    texture: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give faces one feature of other faces, in shape, in texture or in both, and leave the rest.

    The feature stays at its place: its centre is the receiver's, so that form changes and configuration does
    not. The donor's texture is brought to the new shape before it is put in, and to the receiver's skin
    around it.

    Args:
        space: the face space.
        receivers, donors: face vectors (N, K).
        feature: a region's name: "eyes", "eyebrows", "nose", "mouth" ...
        shape: exchange the feature's outline.
        texture: exchange its pixels.

    Returns:
        uint8 RGB images (N, 3, 112, 112) and their landmarks (N, 478, 2) in pixels. The shape is the nearest
        that the face space has, so a little of the change reaches beyond the feature (see `docs/data.md`).

    Raises:
        Error: nothing to exchange, no such region, or not one donor for each receiver.
    """
    from facelesion.faces.regions import region, region_mask

    if not shape and not texture:
        raise Error("exchange: neither shape nor texture is exchanged: switch one on")
    receivers, donors = np.atleast_2d(receivers), np.atleast_2d(donors)
    if receivers.shape != donors.shape:
        raise Error(f"exchange: {len(receivers)} receivers and {len(donors)} donors: give as many of both")
    mixed = np.array(receivers, np.float32)
    if shape:
        mixed[:, space.texture_count :] = _exchanged_shape(
            space, receivers, donors, list(region(feature).points)
        )
    images, landmarks = space.render(mixed)
    if not texture:
        return images, landmarks
    donated = mixed.copy()
    donated[:, : space.texture_count] = donors[:, : space.texture_count]
    source, _ = space.render(donated)
    mask = region_mask(landmarks, feature, CROP, CROP, shape="polygon").float()
    return _blended(images, source, mask), landmarks


def _exchanged_shape(space: FaceSpace, receivers: Array, donors: Array, points: list[int]) -> Array:
    """Shape coefficients (N, S) of the receivers with the donors' form of the feature."""
    mean = space.shape_mean
    distance = np.linalg.norm(mean[:, None] - mean[points], axis=-1).min(1)
    weight = np.exp(-((distance / (_FEATURE_REACH / 2)) ** 2))
    weight[points] = 1
    first = space.texture_count
    change = np.tensordot(donors[:, first:] - receivers[:, first:], space.shape_components, 1)
    change -= change[:, points].mean(1, keepdims=True)
    wanted = (weight[:, None] * change).reshape(len(receivers), -1)
    # Least squares, the feature's own points counting most: the face space has no shape that changes there
    # alone.
    trust = np.repeat(np.sqrt(1 + 3 * weight), 2)
    basis = space.shape_components.reshape(len(space.shape_components), -1) * trust
    coefficients, *_ = np.linalg.lstsq(basis.T, (wanted * trust).T, rcond=None)
    return receivers[:, first:] + coefficients.T


def _blended(images: torch.Tensor, source: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Pixels of `source` where the mask (N, 1, H, W) is, with a soft edge, in the colours around it."""
    near = _softened(mask, 3.0)
    soft = _softened((near > 0.15).float(), _EDGE)
    # The two faces' skin differs: meet it along the edge, where the feature ends.
    edge = soft * (1 - soft)
    below, above = images.float(), source.float()
    step = ((below - above) * edge).sum((2, 3), keepdim=True) / edge.sum((2, 3), keepdim=True).clamp_min(1e-6)
    return (below + soft * (above + step - below)).round().clamp(0, 255).to(torch.uint8)


def _softened(planes: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = int(np.ceil(3 * sigma))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    rows = torch.nn.functional.conv2d(planes, kernel[None, None, :, None], padding=(reach, 0))
    return torch.nn.functional.conv2d(rows, kernel[None, None, None], padding=(0, reach))


def _whitened(space: FaceSpace, people: Array) -> Array:
    """People (..., K) in standard deviations of the between-person variation."""
    return np.asarray(people, np.float64) @ space.whitening


# --- sheets
# ----------------------------------------------------------------------------------------------------------


def draw_sheet(
    space: FaceSpace, kind: str = "people", people: int = 6, pictures: int = 6, seed: int = 0, scale: int = 1
) -> npt.NDArray[np.uint8]:
    """A labelled sheet of faces that shows what one of the tools does: a row per person.

    Args:
        space: the face space.
        kind: "people" (pictures of each), "caricature", "morph", "exchange", "distractors" or "looks".
        people: rows.
        pictures: columns, where the kind leaves them open.
        seed: of the people.
        scale: enlarges every picture so many times.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        Error: no such kind of sheet, no people, or fewer than two pictures.
    """
    if kind not in SHEETS:
        raise Error(f"no sheet {kind!r}: take one of {', '.join(SHEETS)}")
    if people < 1 or pictures < 2:
        raise Error(f"sheet: {people} people and {pictures} pictures: at least 1 and 2 are needed")
    titles, images = SHEETS[kind](space, people, pictures, seed)
    return _sheet(images, titles, scale)


Columns = tuple[list[str], torch.Tensor]


def _people_sheet(space: FaceSpace, people: int, pictures: int, seed: int) -> Columns:
    drawn = space.draw(people, pictures, seed, VARIABILITY).images
    return [f"picture {i + 1}" for i in range(pictures)], drawn


def _caricature_sheet(space: FaceSpace, people: int, pictures: int, seed: int) -> Columns:
    strengths = np.linspace(-1.5, 1.5, 7)
    who = space.people(people, seed)
    vectors = [caricature(person, strength) for person in who for strength in strengths]
    words = {-1.0: "anti-face", 0.0: "average", 1.0: "face", 1.5: "caricature"}
    return [words.get(strength, f"{strength:g}") for strength in strengths], space.render(np.array(vectors))[
        0
    ]


def _morph_sheet(space: FaceSpace, people: int, pictures: int, seed: int) -> Columns:
    who = space.people(2 * people, seed)
    vectors = np.concatenate([morph(who[2 * i], who[2 * i + 1], pictures) for i in range(people)])
    return [f"{share:.0%}" for share in np.linspace(0, 1, pictures)], space.render(vectors)[0]


def _exchange_sheet(space: FaceSpace, people: int, pictures: int, seed: int) -> Columns:
    features = ("eyebrows", "eyes", "nose", "mouth")
    who = space.people(2 * people, seed)
    receivers, donors = who[0::2], who[1::2]
    columns = [space.render(receivers)[0]]
    columns += [exchange_feature(space, receivers, donors, feature)[0] for feature in features]
    columns.append(space.render(donors)[0])
    return ["receiver", *features, "donor"], torch.stack(columns, 1).flatten(0, 1)


def _distractor_sheet(space: FaceSpace, people: int, pictures: int, seed: int) -> Columns:
    steps = (0.9, 0.75, 0.5, 0.25, 0.0)
    rows = []
    for number, target in enumerate(space.people(people, seed)):
        rows.append(target)
        rows += [distractors(space, target, 1, step, seed=seed + 1000 + number)[0] for step in steps]
    return ["target", *(f"likeness {step:g}" for step in steps)], space.render(np.array(rows))[0]


def _look_sheet(space: FaceSpace, people: int, pictures: int, seed: int) -> Columns:
    who = space.people(people, seed)
    vectors = [with_looks(space, person, {look: 2.0}) for person in who for look in LOOKS]
    return list(LOOKS), space.render(np.array(vectors))[0]


SHEETS: Mapping[str, Callable[[FaceSpace, int, int, int], Columns]] = {
    "people": _people_sheet,
    "caricature": _caricature_sheet,
    "morph": _morph_sheet,
    "exchange": _exchange_sheet,
    "distractors": _distractor_sheet,
    "looks": _look_sheet,
}


def _sheet(images: torch.Tensor, titles: list[str], scale: int) -> npt.NDArray[np.uint8]:
    """Pictures (rows * columns, 3, S, S) in a grid below the columns' titles."""
    from PIL import Image, ImageDraw, ImageFont

    columns, side, head = len(titles), images.shape[-1] * scale, 18
    rows = len(images) // columns
    cells = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    grid = (
        cells.reshape(rows, columns, 3, side, side)
        .permute(0, 3, 1, 4, 2)
        .reshape(rows * side, columns * side, 3)
    )
    page = np.full((head + rows * side, columns * side, 3), 255, np.uint8)
    page[head:] = grid.numpy()
    picture = Image.fromarray(page)
    pen: Any = ImageDraw.Draw(picture)
    font = ImageFont.load_default(11)
    for column, title in enumerate(titles):
        pen.text((column * side + side / 2, head / 2), title, fill=(0, 0, 0), font=font, anchor="mm")
    return np.asarray(picture)
