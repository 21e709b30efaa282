"""The built-in face space: any number of new people, any number of pictures of each, with exact landmarks.

A statistical face model (Cootes, Edwards & Taylor 2001; the idea of a face space: Valentine 1991): a picture is a
vector of texture and shape coefficients, drawn as *who* (between-person covariance) plus *how they look just now*
(within-person covariance). It was learned from photographs by `scripts/build_facespace.py`; it holds their statistics
and no photograph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from facelesion.data.imagesets import FaceSet
from facelesion.errors import Error
from facelesion.files import write_whole

Array = npt.NDArray[np.float32]
Eight = npt.NDArray[np.int8]
Flat = TypeVar("Flat", torch.Tensor, Eight)

CROP = 112  # side of the aligned crop, pixels
MARGIN = 8  # the texture reaches this far beyond the crop, so that shapes may shrink
CANVAS = CROP + 2 * MARGIN
FILE = "facespace.npz"
VARIABILITY = 0.6  # default share of the photographs' own within-person standard deviation
_ANCHOR_DISTANCE = 48  # how far outside the canvas the warp has come to rest, pixels


@dataclass(frozen=True, eq=False)
class FaceSpace:
    """A statistical model of faces: draw people, draw pictures of them, render them.

    A face vector has `texture_count` texture coefficients, then the shape coefficients; zero is the average face.

    Attributes:
        texture_mean: (P,) mean texture: luma on the canvas, then the two chroma planes at half its resolution.
        texture_components: (texture_count, P), one grey level per unit of coefficient.
        shape_mean: (478, 2) mean landmarks in pixels of the crop.
        shape_components: (shape_count, 478, 2), one pixel per unit of coefficient.
        between, within: (K, K) factors A of the two covariances A Aᵀ, K = texture_count + shape_count.

    Example:
        >>> space = FaceSpace.load()
        >>> faces = space.draw(people=3, pictures=2, seed=7)
        >>> faces.images.shape, faces.landmarks.shape, faces.labels[:3]
        (torch.Size([6, 3, 112, 112]), torch.Size([6, 478, 2]), ('person-7-0', 'person-7-0', 'person-7-1'))
    """

    texture_mean: Array
    texture_components: Array
    shape_mean: Array
    shape_components: Array
    between: Array
    within: Array

    @classmethod
    def load(cls, path: str | Path | None = None) -> FaceSpace:
        """The face space the project carries, or another file that `save` wrote.

        While somebody holds it, it is not read again: hold it where it is asked for often, it takes some 30 ms to read.

        Raises:
            Error: no such file, or one that is no face space.
        """
        if path is None:
            from facelesion.weights import weights_path

            path = weights_path(FILE)
        key = str(path)
        if (space := _IN_USE.get(key)) is None:
            space = _IN_USE[key] = _read(key)
        return space

    def save(self, path: str | Path) -> None:
        """Write the model in two megabytes: components of texture become 8-bit with a scale each, in differences."""
        scale = np.abs(self.texture_components).max(1) / 127
        texture = np.round(self.texture_components / scale[:, None]).astype(np.int8)
        arrays = {
            "texture_mean": self.texture_mean.astype(np.float16),
            "texture_differences": _plane_by_plane(_differences, texture),
            "texture_scale": scale.astype(np.float32),
            "shape_mean": self.shape_mean.astype(np.float32),
            "shape_components": self.shape_components.astype(np.float16),
            "between": self.between.astype(np.float32),
            "within": self.within.astype(np.float32),
        }
        write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))

    @property
    def texture_count(self) -> int:
        """How many of a vector's first coefficients are texture; the rest are shape."""
        return len(self.texture_components)

    @property
    def dimensions(self) -> int:
        """Length of a face vector."""
        return len(self.between)

    def people(self, count: int, seed: int = 0, likeness: float = 0.0) -> Array:
        """Draw people: vectors (count, K). Person i of a seed is the same however many are drawn.

        Args:
            count: how many.
            seed: people of different seeds are different people.
            likeness: how alike any two of them are: the expected correlation of their vectors, each direction measured
                in its own standard deviation. Above 0 they share a part that is drawn once, as relatives do; each is as
                far from the average face as people are that share nothing.
        """
        _whole("people", count)
        noise = [np.random.default_rng((seed, 0, i)).standard_normal(self.dimensions) for i in range(count)]
        own = np.array(noise).reshape(count, self.dimensions)
        if likeness:
            shared = np.random.default_rng((seed, 2, 0)).standard_normal(self.dimensions)
            own = np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * own
        return (own @ self.between.T).astype(np.float32)

    def pictures(self, people: Array, count: int, seed: int = 0, variability: float = VARIABILITY) -> Array:
        """Draw `count` pictures of each person: vectors (people * count, K), one person's pictures together.

        Args:
            people: (people, K) vectors.
            variability: how much of the photographs' own within-person standard deviation (pose, expression,
                lighting) to use; 0 gives the same picture each time.
        """
        _whole("pictures", count)
        if not (math.isfinite(variability) and variability >= 0):
            raise Error(f"variability {variability}: give a number from 0, such as {VARIABILITY}")
        noise = np.array(
            [
                np.random.default_rng((seed, 1, person, picture)).standard_normal(self.dimensions)
                for person in range(len(people))
                for picture in range(count)
            ]
        ).reshape(len(people) * count, self.dimensions)
        return (np.repeat(people, count, 0) + variability * noise @ self.within.T).astype(np.float32)

    def draw(
        self, people: int, pictures: int, seed: int = 0, variability: float = VARIABILITY, likeness: float = 0.0
    ) -> FaceSet:
        """New people and pictures of each, rendered: the built-in data set.

        People of different seeds are different people. The same arguments give the same pixels: uint8 RGB, 112 x 112,
        with landmarks in pixels.

        Raises:
            Error: a number of people or pictures that is no whole number from 0, or a variability below 0.
        """
        vectors = self.pictures(self.people(people, seed, likeness), pictures, seed, variability)
        images, landmarks = self.render(vectors)
        labels = tuple(f"person-{seed}-{i}" for i in range(people) for _ in range(pictures))
        names = tuple(f"{label}/{k % pictures}" for k, label in enumerate(labels))
        return FaceSet(images, labels, names, landmarks)

    def render(self, vectors: Array, batch_size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures of face vectors (N, K).

        Returns:
            uint8 RGB images (N, 3, 112, 112) and their landmarks (N, 478, 2) in pixels.

        Raises:
            Error: vectors of another shape or length.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimensions:
            raise Error(f"face vectors must be (N, {self.dimensions}), not {vectors.shape}")
        images = torch.empty(len(vectors), 3, CROP, CROP, dtype=torch.uint8)
        landmarks = torch.empty(len(vectors), *self.shape_mean.shape)
        for start in range(0, len(vectors), batch_size):
            rows = slice(start, start + batch_size)
            offsets = self._offsets(vectors[rows])
            images[rows] = (
                _place(self._texture(vectors[rows]), offsets).round_().clamp_(0, 255).to(torch.uint8)
            )
            landmarks[rows] = self._landmarks(offsets)
        return images, landmarks

    def _offsets(self, vectors: Array) -> torch.Tensor:
        shape = np.tensordot(vectors[:, self.texture_count :].astype(float), self._precise[1], 1)
        return pixel_offsets(torch.from_numpy(shape.astype(np.float32)), self.warp)

    def _landmarks(self, offsets: torch.Tensor) -> torch.Tensor:
        """Where the warp carries the mean landmarks: exact, whatever the warp's smoothing does to the shape."""
        mean = torch.from_numpy(self.shape_mean)
        moved = _sample(offsets, mean[None, None].expand(len(offsets), -1, -1, -1))
        return mean + moved[:, :, 0].transpose(1, 2)

    def encode(self, images: torch.Tensor, landmarks: torch.Tensor) -> Array:
        """The face vectors (N, K) nearest to pictures (N, 3, 112, 112) with landmarks (N, 478, 2): least squares.

        Pictures are RGB of 0 to 255, landmarks pixels of them. What lies outside the crop is unknown; the crop's border
        is repeated there.
        """
        planes = unwarp(images, landmarks - torch.from_numpy(self.shape_mean), self.warp)
        texture = (flatten_texture(planes) - self.texture_mean) @ np.linalg.pinv(self.texture_components)
        offset = (landmarks.numpy() - self.shape_mean).reshape(len(landmarks), -1)
        shape = offset @ np.linalg.pinv(self.shape_components.reshape(len(self.shape_components), -1))
        return np.concatenate([texture, shape], 1).astype(np.float32)

    @cached_property
    def warp(self) -> torch.Tensor:
        """Sparse (CANVAS², 478) map from landmark offsets to the offset of every canvas pixel."""
        return warp_matrix(self.shape_mean)

    @cached_property
    def whitening(self) -> npt.NDArray[np.float64]:
        """Map (K, K) from face vectors to standard deviations of the variation between people, in double precision."""
        return np.linalg.pinv(self.between.astype(np.float64), rcond=1e-5).T

    @cached_property
    def _precise(self) -> tuple[Array, Array]:
        """Components in double precision: in single, the last digits hang on how many threads share a product out."""
        return self.texture_components.astype(float), self.shape_components.astype(float)

    def _texture(self, vectors: Array) -> torch.Tensor:
        flat = self.texture_mean + vectors[:, : self.texture_count].astype(float) @ self._precise[0]
        return unflatten_texture(torch.from_numpy(flat.astype(np.float32)))


def _place(texture: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Move shape-free textures (N, 3, CANVAS, CANVAS) by offsets (N, 2, CANVAS, CANVAS): the inverse of `unwarp`.

    The warp says where a point u of the mean face goes: x = u + d(u). Rendering needs u for each pixel x, found by
    iterating u = x - d(u); half steps keep it calm where a turned head's outline is nearly folded over.
    """
    x = _crop_grid().expand(len(texture), -1, -1, -1)
    u = x
    for _ in range(14):
        u = u + 0.6 * (x - u - _sample(offsets, u).permute(0, 2, 3, 1))
    return _sample(texture, u)


def _whole(what: str, count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
        raise Error(f"{count!r} {what}: give a whole number from 0")


def warp_matrix(shape_mean: Array) -> torch.Tensor:
    """Piecewise-linear interpolation from the mean shape's landmarks to the canvas' pixels: sparse (CANVAS², 478).

    Triangles are Delaunay's over the mean landmarks and a ring of anchors far outside, which never move.
    """
    from scipy.spatial import Delaunay

    low, high = -MARGIN - _ANCHOR_DISTANCE, CROP + MARGIN + _ANCHOR_DISTANCE
    side = np.linspace(low, high, 6)
    ring = np.array([(x, y) for x in side for y in side if x in (low, high) or y in (low, high)])
    mesh = Delaunay(np.concatenate([shape_mean.astype(np.float64), ring]))
    pixels = _canvas_grid().reshape(-1, 2).numpy().astype(np.float64)
    triangle = mesh.find_simplex(pixels)
    transform = mesh.transform[triangle]
    first_two = np.einsum("pij,pj->pi", transform[:, :2], pixels - transform[:, 2])
    weights = np.column_stack([first_two, 1 - first_two.sum(1)])
    corners = mesh.simplices[triangle]
    moves = corners < len(shape_mean)
    rows = np.broadcast_to(np.arange(len(pixels))[:, None], corners.shape)
    indices = torch.from_numpy(np.stack([rows[moves], corners[moves]]).astype(np.int64))
    values = torch.from_numpy(weights[moves].astype(np.float32))
    size = (len(pixels), len(shape_mean))
    return torch.sparse_coo_tensor(indices, values, size, check_invariants=False).coalesce()


def pixel_offsets(landmark_offsets: torch.Tensor, warp: torch.Tensor) -> torch.Tensor:
    """How far every pixel of the mean face moves (N, 2, CANVAS, CANVAS) when its landmarks move by (N, 478, 2)."""
    count = len(landmark_offsets)
    columns = landmark_offsets.float().permute(1, 0, 2).reshape(landmark_offsets.shape[1], -1)
    moved = torch.sparse.mm(warp, columns).reshape(CANVAS, CANVAS, count, 2).permute(2, 3, 0, 1)
    # Piecewise-linear warps crease at the face's outline, where a turned head meets the still background.
    return _blur(moved)


def _blur(planes: torch.Tensor, sigma: float = 2.0) -> torch.Tensor:
    """Gaussian blur of planes (N, C, H, W), the border repeated."""
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(F.pad(planes, [6] * 4, mode="replicate"), [13, 13], [sigma, sigma])[..., 6:-6, 6:-6]


def unwarp(images: torch.Tensor, landmark_offsets: torch.Tensor, warp: torch.Tensor) -> torch.Tensor:
    """Shape-free textures (N, 3, CANVAS, CANVAS) of crops (N, 3, 112 + 2m, ...) whose landmarks are off by (N, 478, 2).

    `images` may be crops or canvases; they are centred on one another. Offsets are pixels; values and their order of
    channels stay as they come.
    """
    border = (CANVAS - images.shape[-1]) // 2
    planes = F.pad(images.float(), [border] * 4, mode="replicate") if border else images.float()
    return _sample(planes, _canvas_grid() + pixel_offsets(landmark_offsets, warp).permute(0, 2, 3, 1))


def flatten_texture(planes: torch.Tensor) -> Array:
    """RGB textures (N, 3, CANVAS, CANVAS), 0 to 255, as vectors (N, P): luma in full, chroma at half the resolution."""
    red, green, blue = planes.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = F.avg_pool2d(torch.stack([blue - luma, red - luma], 1), 2)
    return torch.cat([luma.flatten(1), chroma.flatten(1)], 1).numpy()


def unflatten_texture(flat: torch.Tensor) -> torch.Tensor:
    """The inverse of `flatten_texture`, but for chroma's resolution: (N, P) to RGB (N, 3, CANVAS, CANVAS)."""
    luma, chroma = _planes(flat)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    blue, red = luma + chroma[:, :1], luma + chroma[:, 1:]
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return torch.cat([red, green, blue], 1)


def _planes(flat: Flat) -> tuple[Flat, Flat]:
    """Luma (N, 1, CANVAS, CANVAS) and chroma (N, 2, CANVAS / 2, CANVAS / 2) of textures (N, P)."""
    luma, chroma = flat[:, : CANVAS * CANVAS], flat[:, CANVAS * CANVAS :]
    return luma.reshape(-1, 1, CANVAS, CANVAS), chroma.reshape(-1, 2, CANVAS // 2, CANVAS // 2)


def _sample(planes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Canvas planes (N, C, CANVAS, CANVAS) read at `points` (N, H, W, 2), given in pixels of the crop."""
    scaled = (points + MARGIN) * (2 / (CANVAS - 1)) - 1
    return F.grid_sample(planes, scaled, mode="bilinear", padding_mode="border", align_corners=True)


def _canvas_grid() -> torch.Tensor:
    """(x, y) of every canvas pixel, in pixels of the crop: (1, CANVAS, CANVAS, 2)."""
    return torch.from_numpy(_canvas_pixels())


@lru_cache(maxsize=1)
def _canvas_pixels() -> Array:
    # An array: a tensor that is kept would be of whatever mode it was first asked for in.
    axis = np.arange(-MARGIN, CROP + MARGIN, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x, y], -1)[None]


def _crop_grid() -> torch.Tensor:
    return _canvas_grid()[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _plane_by_plane(change: Callable[[Eight], Eight], textures: Eight) -> Eight:
    """`change` done to the planes of textures (N, P)."""
    return np.concatenate([change(each).reshape(len(textures), -1) for each in _planes(textures)], 1)


def _differences(planes: Eight) -> Eight:
    """Along rows and columns, counted modulo 256, so that nothing is lost: smooth planes deflate to half the bytes."""
    return np.diff(np.diff(planes, prepend=np.int8(0)), axis=-2, prepend=np.int8(0))


def _sums(differences: Eight) -> Eight:
    """The inverse of `_differences`."""
    return differences.cumsum(-1, dtype=np.int8).cumsum(-2, dtype=np.int8)


def _read(path: str) -> FaceSpace:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if "texture_differences" in arrays:  # older files hold the components themselves
            arrays["texture_components"] = _plane_by_plane(_sums, arrays.pop("texture_differences"))
        arrays["texture_components"] = arrays["texture_components"] * arrays.pop("texture_scale")[:, None]
        return FaceSpace(**{name: array.astype(np.float32) for name, array in arrays.items()})
    except FileNotFoundError:
        raise Error(
            f"no face space at {path}: reinstall facelesion, or make one with scripts/build_facespace.py"
        ) from None
    except Exception as error:
        raise Error(
            f"{path} is not a face space ({error}): make one with scripts/build_facespace.py"
        ) from None


# By path, for as long as somebody holds one: with what is worked out of it, it takes 55 MB, which a study that has
# drawn its people has better use for.
_IN_USE: WeakValueDictionary[str, FaceSpace] = WeakValueDictionary()
