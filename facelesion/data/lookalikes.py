"""Pictures that are no faces and can be taken for some: what a detection task needs so that it can fail.

Face-like objects (the pareidolia that people and monkeys share: Taubert, Wardle, Flessert, Leopold & Ungerleider 2017),
faces whose features are at one another's places, faces without features, and half faces. Neither networks nor readouts
are trained on any of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.objects import nonfaces
from facelesion.errors import Error
from facelesion.faces.regions import FEATURES, mean_face, region_mask, upright_boxes

FACE_LIKE, JUMBLED, FEATURELESS, HALF = "face-like object", "jumbled face", "featureless face", "half face"
KINDS = (FACE_LIKE, JUMBLED, FEATURELESS, HALF)
# Who goes where: every feature at another's place.
_ORDERS = (("mouth", "eyes", "nose"), ("nose", "mouth", "eyes"))
_PLACES = ("eyes", "nose", "mouth")


def lookalikes(count: int, seed: int, faces: FaceSet) -> ImageSet:
    """Make pictures that are no faces and can be taken for some, a quarter of each kind.

    Args:
        count: how many.
        seed: the same seed gives the same pictures.
        faces: faces to make them of, chosen at random; use those of the same split only.

    Returns:
        `count` pictures of the faces' size, uint8 RGB; labels are the kinds: `face-like object` (eyes and a mouth drawn
        on an object or a texture), `jumbled face` (eyes, nose and mouth at one another's places), `featureless face`
        (skin where they were) and `half face` (one half, the rest is ground).

    Raises:
        Error: fewer than one picture.

    Example:
        >>> from facelesion.data.facespace import FaceSpace
        >>> some = lookalikes(4, 0, FaceSpace.load().draw(3, 1))
        >>> sorted(some.labels)
        ['face-like object', 'featureless face', 'half face', 'jumbled face']
    """
    if count < 1:
        raise Error(f"lookalikes: {count} pictures: ask for at least one")
    labels = [KINDS[number % len(KINDS)] for number in range(count)]
    rng = np.random.default_rng([seed, 0xFACE])
    chosen = torch.from_numpy(rng.integers(len(faces), size=count))
    images, landmarks = faces.images[chosen].float(), faces.landmarks[chosen]
    grounds = nonfaces(count, seed * 10 + 7, faces.size).images.float()
    made = torch.empty_like(images)
    for kind in KINDS[:count]:
        rows = torch.tensor([row for row, label in enumerate(labels) if label == kind])
        own = [np.random.default_rng([seed, 0xFACE, int(row)]) for row in rows]
        if kind == FACE_LIKE:
            made[rows] = torch.stack([_with_features(grounds[row], each) for row, each in zip(rows, own, strict=True)])
        elif kind == JUMBLED:
            made[rows] = _jumbled(images[rows], landmarks[rows], own)
        elif kind == FEATURELESS:
            made[rows] = _featureless(images[rows], landmarks[rows])
        else:
            made[rows] = _halves(images[rows], landmarks[rows], grounds[rows], own)
    names = tuple(f"{label.replace(' ', '-')}/lookalike-{seed}-{row:05d}" for row, label in enumerate(labels))
    return ImageSet(made.round().clamp(0, 255).to(torch.uint8), tuple(labels), names)


def _with_features(ground: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Two eyes and a mouth drawn on a picture (3, H, W), about where a face has them."""
    import cv2

    size, fine, fraction = ground.shape[-1], 2 * ground.shape[-1], 3
    points = mean_face(size).numpy()
    left, right = points[[33, 133]].mean(0), points[[362, 263]].mean(0)
    mouth = points[[61, 291]].mean(0)
    wide = float(np.linalg.norm(right - left))
    centre, angle = (left + right + mouth) / 3, np.radians(rng.normal(0, 6))
    turn = rng.uniform(0.85, 1.15) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = rng.normal(0, 0.03 * size, 2)

    def at(point: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return ((point - centre) @ turn.T + centre + shift + 0.5) * 2 - 0.5

    eye = wide * rng.uniform(0.16, 0.28) * np.array([1.0, rng.uniform(0.6, 1.0)])
    lips = wide * np.array([rng.uniform(0.3, 0.5), rng.uniform(0.06, 0.22)])
    colours, cover = np.zeros((fine, fine), np.float32), np.zeros((fine, fine), np.float32)
    dark, light = rng.uniform(5, 50), rng.uniform(170, 250)
    bent = rng.uniform(-0.6, 0.6)

    def disc(point: npt.NDArray[np.floating], radii: npt.NDArray[np.floating], colour: float) -> None:
        at_fine = np.round(point * 2**fraction).astype(int)
        axes = np.maximum(np.round(radii * 2 * 2**fraction), 1).astype(int)
        for plane, value in ((colours, colour), (cover, 1.0)):
            cv2.ellipse(
                plane, (int(at_fine[0]), int(at_fine[1])), (int(axes[0]), int(axes[1])), float(np.degrees(angle)),
                0, 360, float(value), -1, cv2.LINE_AA, fraction,
            )  # fmt: skip

    white = rng.random() < 0.5
    for place in (left, right):
        disc(at(place), eye, light if white else dark)
        if white:
            disc(at(place), eye * 0.5, dark)
    # A mouth is a row of discs, so that it can be bent.
    for step in np.linspace(-1, 1, 25):
        offset = np.array([step * lips[0], bent * lips[1] * (step**2 - 0.5) * 2])
        disc(at(mouth + offset), np.array([1.0, 1.0]) * lips[1] * 0.5, dark)
    small = cv2.resize(colours, (size, size), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA), (0, 0), size / 224)
    share = torch.from_numpy(soft.clip(0, 1) * np.float32(rng.uniform(0.75, 1.0)))
    colour = torch.from_numpy(small / np.maximum(cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA), 1e-3))
    return ground * (1 - share) + colour.clamp(0, 255) * share


def _jumbled(images: torch.Tensor, landmarks: torch.Tensor, rngs: list[np.random.Generator]) -> torch.Tensor:
    """Eyes (with their brows), nose and mouth at one another's places, on skin."""
    size = images.shape[-1]
    made = _featureless(images, landmarks)
    centres = {name: _middle(landmarks, name) for name in _PLACES}
    along = torch.arange(size, dtype=torch.float32)
    for row, rng in enumerate(rngs):
        order = _ORDERS[int(rng.integers(len(_ORDERS)))]
        for place, feature in zip(_PLACES, order, strict=True):
            shift = (centres[place][row] - centres[feature][row]).round().long().tolist()
            names = ("eyes", "eyebrows") if feature == "eyes" else (feature,)
            mask = torch.zeros(1, 1, size, size)
            for name in names:
                mask = torch.maximum(mask, region_mask(landmarks[row : row + 1], name, size, size).float())
            soft = _smooth(mask, 0.018 * size)
            # What is moved beyond the border does not come back on the other side.
            inside = ((along - shift[1] >= 0) & (along - shift[1] < size))[:, None]
            inside = inside & ((along - shift[0] >= 0) & (along - shift[0] < size))
            moved, where = (
                torch.roll(each, (shift[1], shift[0]), (-2, -1)) * inside for each in (images[row : row + 1], soft)
            )
            made[row : row + 1] = torch.lerp(made[row : row + 1], moved, where)
    return made


def _featureless(images: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Skin in place of brows, eyes, nose and mouth: what surrounds them, carried inwards."""
    size = images.shape[-1]
    mask = torch.zeros(len(images), 1, size, size)
    for name in FEATURES:
        mask = torch.maximum(mask, region_mask(landmarks, name, size, size).float())
    mask = F.max_pool2d(mask, 5, 1, 2)
    face = region_mask(landmarks, "face", size, size, "polygon").float()
    known = face * (1 - mask)
    skin = images
    for sigma in (0.2, 0.09, 0.04):  # where there is skin near by, it counts more than what lies farther off
        weight = _smooth(known, sigma * size)
        nearer = _smooth(images * known, sigma * size) / weight.clamp_min(1e-4)
        skin = torch.lerp(skin, nearer, (weight / (weight + 0.1)) if sigma < 0.2 else (weight > 1e-4).float())
    return torch.lerp(images, skin, _smooth(mask, 0.012 * size))


def _halves(
    images: torch.Tensor, landmarks: torch.Tensor, grounds: torch.Tensor, rngs: list[np.random.Generator]
) -> torch.Tensor:
    """The left, right, upper or lower half of a face; the other is ground."""
    size = images.shape[-1]
    middle = upright_boxes(landmarks, "face").centre
    y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float32),) * 2, indexing="ij")
    keep = []
    for row, rng in enumerate(rngs):
        along, sign = ((x, y)[int(rng.integers(2))], (1, -1)[int(rng.integers(2))])
        centre = middle[row, 0] if along is x else middle[row, 1]
        keep.append((sign * (along - centre) > 0).float())
    return torch.lerp(grounds, images, _smooth(torch.stack(keep)[:, None], 0.012 * size))


def _middle(landmarks: torch.Tensor, name: str) -> torch.Tensor:
    return upright_boxes(landmarks, name).centre


def _smooth(planes: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur, the border repeated."""
    from torchvision.transforms.functional import gaussian_blur

    reach = max(1, int(np.ceil(3 * sigma)))
    padded = F.pad(planes, [reach] * 4, mode="replicate")
    return gaussian_blur(padded, [2 * reach + 1] * 2, [sigma, sigma])[..., reach:-reach, reach:-reach]
