"""Things that are no faces: photographs of objects, and the built-in ones the project draws itself.

The built-in objects are simple drawings (`shapes.py`) in random colours, poses and light on textured grounds.
Colours, grounds and light are drawn alike for every category, so that only shape tells categories apart. They
are the control task for object recognition and, with textures and scrambled faces, the non-faces of the
detection task.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from facelesion.data.archives import is_archive, unpack
from facelesion.data.images import centre_crop, read_image
from facelesion.data.imagesets import ImageSet
from facelesion.data.listing import list_folder, one_form, people_folder
from facelesion.data.shapes import MAKERS, Shape
from facelesion.errors import Error
from facelesion.files import cache_folder, file_hash

CATEGORIES = tuple(MAKERS)
TEXTURE, PHASE, TILES = "texture", "phase-scrambled face", "tile-scrambled face"

# float32 all along; OpenCV's own types are too wide to say so.
Picture = npt.NDArray[Any]

# Shares of the kinds in `nonfaces`, with and without faces to scramble.
_SHARES = {"object": 0.4, TEXTURE: 0.2, PHASE: 0.2, TILES: 0.2}


def builtin_objects(per_category: int, seed: int = 0, size: int = 112) -> ImageSet:
    """Draw pictures of 16 kinds of everyday things, each picture of another exemplar.

    Args:
        per_category: pictures of each kind.
        seed: another seed gives other exemplars, in other colours, on other grounds; the first pictures of a
            longer set are those of a shorter one.
        size: side in pixels.

    Returns:
        16 x per_category pictures, uint8 RGB, sorted by category; names such as `cup/0-0003` (seed, number).

    Raises:
        Error: fewer than one picture of each, or a side below 16 pixels.

    Example:
        >>> objects = builtin_objects(2, seed=1)
        >>> len(objects), objects.labels[:3], objects.size
        (32, ('aeroplane', 'aeroplane', 'boat'), 112)
    """
    return builtin_exemplars(per_category, 1, seed, size, name_by_exemplar=False)


def builtin_exemplars(
    per_category: int,
    pictures: int,
    seed: int = 0,
    size: int = 112,
    *,
    categories: tuple[str, ...] = CATEGORIES,
    name_by_exemplar: bool = True,
) -> ImageSet:
    """Draw several pictures of each of several exemplars: individual cups, cars, houses.

    An exemplar keeps its shape and colours; pose, size, light and ground change from picture to picture. It
    asks of objects what identification asks of faces, the control that a loss of *face* identity needs.

    Args:
        per_category: exemplars of each kind.
        pictures: pictures of each exemplar.
        seed: as for `builtin_objects`.
        size: side in pixels.
        categories: which kinds.
        name_by_exemplar: label pictures by exemplar (`cup-0-0003`), else by kind (`cup`).

    Returns:
        Pictures, uint8 RGB, in the order of categories, exemplars and pictures.

    Raises:
        Error: fewer than one exemplar or picture, a side below 16 pixels, or no such kind.

    Example:
        >>> cups = builtin_exemplars(2, 3, categories=("cup",))
        >>> cups.labels
        ('cup-0-0000', 'cup-0-0000', 'cup-0-0000', 'cup-0-0001', 'cup-0-0001', 'cup-0-0001')
    """
    if per_category < 1 or pictures < 1 or size < 16:
        raise Error(
            f"objects: {per_category} per category, {pictures} pictures, {size} px: at least 1, 1 and 16 are needed"
        )
    unknown = [category for category in categories if category not in MAKERS]
    if unknown:
        raise Error(f"no built-in object {unknown[0]!r}: take some of {', '.join(CATEGORIES)}")
    images = np.empty((len(categories) * per_category * pictures, size, size, 3), np.uint8)
    labels: list[str] = []
    names: list[str] = []
    for category in categories:
        for number in range(per_category):
            exemplar = (seed, CATEGORIES.index(category), number)
            for picture in range(pictures):
                images[len(names)] = object_picture(category, exemplar, picture, size)
                labels.append(f"{category}-{seed}-{number:04d}" if name_by_exemplar else category)
                suffix = f"-{picture:02d}" if pictures > 1 else ""
                names.append(f"{category}/{seed}-{number:04d}{suffix}")
    return ImageSet(_as_tensor(images), tuple(labels), tuple(names))


def nonfaces(count: int, seed: int = 0, size: int = 112, faces: ImageSet | None = None) -> ImageSet:
    """Make pictures that are no faces, for detection: objects, textures, and scrambled faces.

    Four in ten are objects, two in ten each textures, phase-scrambled faces (the same spatial frequencies and
    colours, no shape) and tile-scrambled faces (the same parts, in the wrong places). Without `faces` to
    scramble, six in ten
    are objects and four in ten textures: then skin colour alone gives faces away, so pass faces where you
    can.

    Args:
        count: how many.
        seed: the same seed gives the same pictures.
        size: side in pixels.
        faces: faces to scramble, chosen at random; use those of the same split only.

    Returns:
        `count` pictures, uint8 RGB; labels are the object's category, `texture`, `phase-scrambled face` or
        `tile-scrambled face`.

    Raises:
        Error: fewer than one picture.

    Example:
        >>> some = nonfaces(10, seed=3)
        >>> len(some), sum(label == "texture" for label in some.labels)
        (10, 4)
    """
    if count < 1:
        raise Error(f"nonfaces: {count} pictures: ask for at least one")
    shares = dict(_SHARES) if faces is not None else {"object": 0.6, TEXTURE: 0.4}
    counts = _apportion(count, shares)
    rng = np.random.default_rng([seed, 0x0FACE])
    images = np.empty((count, size, size, 3), np.uint8)
    labels: list[str] = []
    for number in range(counts["object"]):
        category = CATEGORIES[int(rng.integers(len(CATEGORIES)))]
        # Exemplar numbers far beyond those of builtin_objects: the same seed never gives the same object
        # twice.
        images[len(labels)] = object_picture(
            category, (seed, CATEGORIES.index(category), 10**6 + number), 0, size
        )
        labels.append(category)
    for number in range(counts[TEXTURE]):
        images[len(labels)] = _texture_picture(np.random.default_rng([seed, 0x7E87, number]), size)
        labels.append(TEXTURE)
    if faces is not None:
        for kind, scramble in ((PHASE, phase_scramble), (TILES, tile_scramble)):
            rows = torch.from_numpy(rng.integers(len(faces), size=counts[kind]))
            crops = _resized(faces.images[rows], size)
            scrambled = scramble(crops, int(rng.integers(2**31)))
            images[len(labels) : len(labels) + len(rows)] = scrambled.permute(0, 2, 3, 1).numpy()
            labels += [kind] * len(rows)
    order = rng.permutation(count)
    chosen = [labels[i] for i in order]
    names = tuple(f"{label.replace(' ', '-')}/nonface-{seed}-{i:05d}" for i, label in enumerate(chosen))
    return ImageSet(_as_tensor(images[order]), tuple(chosen), names)


def object_folder(root: str | Path, size: int = 112, per_category: int | None = None) -> ImageSet:
    """Read photographs of objects: `<root>/<category>/<photograph>`, or an archive of that.

    Args:
        root: the folder of categories, a folder that holds only that folder, or a tar or zip archive, which
            is unpacked once into the cache folder.
        size: each photograph's largest central square is scaled to this side in pixels.
        per_category: at most so many of each category, the first by name.

    Returns:
        The photographs, uint8 RGB, labels are the categories, sorted by name.

    Raises:
        Error: no such folder, nothing in it, or a photograph that cannot be read (named).

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for kind, colour in (("cup", "red"), ("car", "blue")):
        ...         (Path(folder) / kind).mkdir()
        ...         Image.new("RGB", (60, 40), colour).save(Path(folder) / kind / "one.png")
        ...     things = object_folder(folder, size=32)
        >>> things.labels, tuple(things.images.shape)
        (('car', 'cup'), (2, 3, 32, 32))
    """
    root = Path(root)
    if is_archive(root):
        root = unpack(root, cache_folder() / f"objects-{file_hash(root)[:12]}")
    listing = list_folder(people_folder(root) if os.path.isdir(root) else root)
    if listing.left_out:
        name, reason = listing.left_out[0]
        raise Error(
            f"{listing.root}: {len(listing.left_out)} files are in no category, such as {name} ({reason})"
        )
    kept = [name for names in listing.by_person.values() for name in names[:per_category]]
    images = np.stack([centre_crop(read_image(listing.path(name)), size) for name in kept])
    return ImageSet(_as_tensor(images), tuple(one_form(name.split("/")[0]) for name in kept), tuple(kept))


def _check_bytes(images: torch.Tensor) -> None:
    """Fractions of brightness would be rounded to black."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise Error(f"pictures must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}")


def phase_scramble(images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Give every picture random phases and leave its amplitude spectrum: no shape, the same frequencies and
    colours.

    The same random phase is added in all three channels, so hues stay those of the picture.

    Args:
        images: uint8 (N, 3, H, W), colours in any order.
        seed: of the phases.

    Returns:
        uint8 (N, 3, H, W), each channel's mean kept, values beyond 0 and 255 cut off.
    """
    _check_bytes(images)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand((len(images), 1, *images.shape[2:]), generator=generator)
    # The phases of a real picture of noise are antisymmetric, as they must be for a real result.
    turn = torch.fft.rfft2(noise)
    turn = turn / turn.abs().clamp_min(1e-12)
    turn[..., 0, 0] = 1
    pixels = images.float()
    scrambled = torch.fft.irfft2(torch.fft.rfft2(pixels) * turn, s=images.shape[2:])
    return scrambled.round_().clamp_(0, 255).to(torch.uint8)


def tile_scramble(images: torch.Tensor, seed: int = 0, tiles: int = 8) -> torch.Tensor:
    """Cut every picture into tiles x tiles squares and shuffle them; where they do not divide it, it is
    resized.

    Args:
        images: uint8 (N, 3, S, S), colours in any order.
        seed: of the orders, one per picture.
        tiles: along each side.

    Returns:
        uint8 (N, 3, S, S).
    """
    _check_bytes(images)
    count, size = len(images), images.shape[-1]
    side = -(-size // tiles)
    pixels = _resized(images, side * tiles)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand((count, tiles * tiles), generator=generator).argsort(1)
    cells = (
        pixels.reshape(count, 3, tiles, side, tiles, side)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(count, tiles * tiles, 3, side, side)
    )
    cells = cells[torch.arange(count)[:, None], order]
    shuffled = cells.reshape(count, tiles, tiles, 3, side, side).permute(0, 3, 1, 4, 2, 5)
    return _resized(shuffled.reshape(count, 3, side * tiles, side * tiles), size)


def _resized(images: torch.Tensor, size: int) -> torch.Tensor:
    if images.shape[-1] == size:
        return images
    how = torch.nn.functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
    return how.round_().clamp_(0, 255).to(torch.uint8)


def _as_tensor(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _apportion(count: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole numbers in these shares that add up (largest remainders)."""
    exact = {kind: count * share for kind, share in shares.items()}
    whole = {kind: int(value + 1e-9) for kind, value in exact.items()}
    by_rest = sorted(shares, key=lambda kind: whole[kind] - exact[kind])
    for kind in by_rest[: count - sum(whole.values())]:
        whole[kind] += 1
    return whole


# --- drawing
# ---------------------------------------------------------------------------------------------------


def object_picture(
    category: str, exemplar: tuple[int, int, int], picture: int, size: int
) -> npt.NDArray[np.uint8]:
    who = np.random.default_rng([*exemplar, 0xC0FFEE])
    shape = MAKERS[category](who)
    palette = _palette(who)
    now = np.random.default_rng([*exemplar, picture, 0xBEEF])
    ground = textured_ground(now, size)
    colours, cover = drawn_shape(posed_shape(shape, now), palette, size)
    mottled = 1 + _clouds(now, size, int(now.integers(6, 30)), now.uniform(0, 0.12), channels=1)
    # Each factor is one value per pixel, so they are multiplied before they meet the three channels.
    shading = (_relief(cover, now) * _light(now, size, 0.35) * mottled)[..., 0] * cover
    ground *= ((1 - _shadow(cover, now)) * (1 - cover))[..., None]
    colours *= shading[..., None]
    return _finish(ground + colours, now)


def _colour(rng: np.random.Generator) -> Picture:
    """A colour: any hue, often pale; one in four the hue of skin and wood, so that this hue means nothing."""
    import colorsys

    hue = rng.uniform(0.02, 0.11) if rng.random() < 0.25 else rng.random()
    saturation, value = rng.beta(1.5, 2.0), rng.uniform(0.25, 1.0)
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def _palette(rng: np.random.Generator) -> Picture:
    """Colours (4, 3) of the roles body, trim, dark, light."""
    body, trim = _colour(rng), _colour(rng)
    dark, light = _colour(rng) * 0.35, 255 - (255 - _colour(rng)) * 0.35
    return np.stack([body, trim, dark, light])


def posed_shape(shape: Shape, rng: np.random.Generator) -> Shape:
    """The shape turned, stretched, sheared, mirrored and moved."""
    from dataclasses import replace

    angle, scale = np.radians(rng.normal(0, 14)), rng.uniform(0.65, 1.0)
    stretch, shear = np.exp(rng.normal(0, 0.1)), rng.normal(0, 0.1)
    mirror = rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.array([[mirror * stretch, shear], [0, 1 / stretch]])
    corners = np.concatenate([part.points for part in shape]) @ matrix.T
    # The object stays in the picture, but not always in its middle.
    low, high = corners.min(0), corners.max(0)
    slack = np.maximum(0.0, 1.0 - (high - low) / 2)
    shift = -(low + high) / 2 + rng.uniform(-0.8, 0.8, 2) * slack
    return [replace(part, points=part.points @ matrix.T + shift, width=part.width * scale) for part in shape]


def drawn_shape(shape: Shape, palette: Picture, size: int) -> tuple[Picture, Picture]:
    """Colours (S, S, 3) in 0-255 and cover (S, S) in 0-1, drawn at twice the size and averaged down."""
    import cv2

    fine, fraction = 2 * size, 3
    colours = np.empty((fine, fine, 3), np.uint8)
    colours[:] = palette[0]
    cover = np.zeros((fine, fine), np.uint8)
    for part in shape:
        corners = np.round(((part.points + 1) * (fine / 2) - 0.5) * 2**fraction).astype(np.int32)[None]
        colour = tuple(float(value) for value in palette[part.role])
        if part.width:
            width = max(1, round(part.width * fine / 2))
            cv2.polylines(colours, corners, part.closed, colour, width, cv2.LINE_AA, fraction)
            cv2.polylines(cover, corners, part.closed, 255, width, cv2.LINE_AA, fraction)
        else:
            cv2.fillPoly(colours, corners, colour, cv2.LINE_AA, fraction)
            cv2.fillPoly(cover, corners, 255, cv2.LINE_AA, fraction)
    small = cv2.resize(colours, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small, cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _relief(cover: Picture, rng: np.random.Generator) -> Picture:
    """Shading (S, S, 1) as if the shape bulged towards the viewer and were lit from one side."""
    import cv2

    height = cv2.GaussianBlur(cover, (0, 0), rng.uniform(2, 5) * cover.shape[0] / 112)
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.5)
    slope = np.cos(angle) * cv2.Sobel(height, cv2.CV_32F, 1, 0) + np.sin(angle) * cv2.Sobel(
        height, cv2.CV_32F, 0, 1
    )
    return np.clip(1 - depth * slope * cover.shape[0] / 112, 0.4, 1.5)[..., None].astype(np.float32)


def _shadow(cover: Picture, rng: np.random.Generator) -> Picture:
    """A soft shadow (S, S) in 0-1, thrown to one side."""
    import cv2

    size = cover.shape[0]
    shift = np.array([[1, 0, rng.normal(0, 0.05) * size], [0, 1, rng.uniform(0, 0.08) * size]])
    thrown = cv2.warpAffine(cover, shift, (size, size))
    return cv2.GaussianBlur(thrown, (0, 0), 0.03 * size) * np.float32(rng.uniform(0, 0.6))


def _light(rng: np.random.Generator, size: int, strength: float) -> Picture:
    """A linear gradient of brightness (S, S, 1) about 1."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, strength)
    along = np.linspace(-1, 1, size, dtype=np.float32)
    return (1 + slope * (np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None]))[..., None].astype(
        np.float32
    )


def _clouds(
    rng: np.random.Generator, size: int, grain: int, strength: float = 1.0, channels: int = 3
) -> Picture:
    """Smooth noise (S, S, channels), about -strength to strength, `grain` cells along a side."""
    import cv2

    cells = rng.uniform(-strength, strength, (grain, grain, channels)).astype(np.float32)
    smooth = cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC)
    return smooth.reshape(size, size, channels)


def _wave(rng: np.random.Generator, size: int) -> Picture:
    """A grating (S, S, 1) in -1 to 1, sine or square, of any direction."""
    angle, cycles, phase = rng.uniform(0, np.pi), rng.uniform(2, 16), rng.uniform(0, 2 * np.pi)
    along = np.linspace(0, 2 * np.pi, size, dtype=np.float32)
    wave = np.sin(cycles * (np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None]) + phase)
    if rng.random() < 0.5:
        wave = np.clip(wave * cycles, -1, 1)
    return wave[..., None].astype(np.float32)


def textured_ground(rng: np.random.Generator, size: int) -> Picture:
    """A textured ground (S, S, 3) in 0-255."""
    first, second = _colour(rng), _colour(rng)
    kind = rng.integers(4)
    if kind == 0:
        mix = 0.5 + 0.5 * _wave(rng, size) * np.float32(rng.uniform(0.2, 1))
    elif kind == 1:
        # A wall and a floor.
        along = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
        mix = np.broadcast_to(
            np.clip((along - np.float32(rng.uniform(0.4, 0.8))) * 20, 0, 1), (size, size, 1)
        )
    else:
        mix = 0.5 + 0.5 * _clouds(rng, size, int(rng.integers(2, 9)), channels=1)
    ground = first + (second - first) * mix.astype(np.float32)
    ground += _clouds(rng, size, int(rng.integers(3, 40)), rng.uniform(0, 45))
    ground *= _light(rng, size, 0.5)
    return ground


def _texture_picture(rng: np.random.Generator, size: int) -> npt.NDArray[np.uint8]:
    """Gratings, plaids, clouds of several scales, cells or rings."""
    first, second, third = _colour(rng), _colour(rng), _colour(rng)
    kind = rng.integers(5)
    if kind == 0:
        mix = 0.5 + 0.5 * _wave(rng, size)
    elif kind == 1:
        mix = 0.5 + 0.25 * (_wave(rng, size) + _wave(rng, size))
    elif kind == 2:
        power = rng.uniform(0.4, 1.0)
        scales = [_clouds(rng, size, grain, grain**-power, channels=1) for grain in (2, 4, 8, 16, 32, 64)]
        mix = 0.5 + np.sum(scales, axis=0)
    elif kind == 3:
        mix = _cells(rng, size)
    else:
        along = np.linspace(-1, 1, size, dtype=np.float32)
        x, y = rng.uniform(-1.5, 1.5, 2).astype(np.float32)
        distance = np.hypot(along[None, :] - x, (along[:, None] - y) * np.float32(rng.uniform(0.3, 1)))
        bent = distance[..., None] + 0.1 * _clouds(rng, size, 4, channels=1)
        mix = 0.5 + 0.5 * np.sin(rng.uniform(8, 40) * bent)
    made = first + (second - first) * mix.astype(np.float32)
    made += (third - first) * _clouds(rng, size, int(rng.integers(2, 20)), 0.3, channels=1)
    return _finish(made * _light(rng, size, 0.4), rng)


def _cells(rng: np.random.Generator, size: int) -> Picture:
    """Patches (S, S, 1) around random points (Voronoi), each of its own brightness, or the distance to the point."""
    count = int(rng.integers(8, 40))
    points = rng.uniform(0, size, (count, 2)).astype(np.float32)
    along = np.arange(size, dtype=np.float32)
    squared = (along[None, :, None] - points[:, 0]) ** 2 + (along[:, None, None] - points[:, 1]) ** 2
    if rng.random() < 0.5:
        return rng.random(count).astype(np.float32)[squared.argmin(2)][..., None]
    return np.sqrt(squared.min(2))[..., None] * np.float32(2 / np.sqrt(size * size / count))


def _finish(made: Picture, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The camera: saturation, contrast, softness and grain; then 8 bits."""
    import cv2

    saturation, contrast = rng.uniform(0.15, 1.1), rng.uniform(0.7, 1.1)
    # Towards grey and towards the mean brightness, as one matrix on the colours of every pixel.
    matrix = contrast * (saturation * np.eye(3) + (1 - saturation) / 3)
    offset = (1 - contrast) * sum(cv2.mean(made)[:3]) / 3
    made = cv2.transform(made, np.column_stack([matrix, np.full(3, offset)]))
    if rng.random() < 0.5:
        made = cv2.GaussianBlur(made, (0, 0), rng.uniform(0.3, 1.0) * made.shape[0] / 112)
    grain = rng.standard_normal(made.shape[:2], dtype=np.float32) * np.float32(rng.uniform(0, 6))
    finished: Picture = np.maximum(made + grain[..., None], 0)
    eight_bits: Any = cv2.convertScaleAbs(finished)  # rounds, and holds at 255
    return eight_bits
