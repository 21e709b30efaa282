"""Where the features of a face are: named regions, each as a rotated box and as an outline, from landmarks.

Everything is batched tensor arithmetic on the landmarks' device. Coordinates are pixels, x to the right and y down,
pixel centres at whole numbers; "left" is the viewer's left. "Width" is always the side of a box that lies nearer to
the line between the eyes, "height" the other, at every angle of the head.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facelesion.errors import Error
from facelesion.faces.sent import beside, points_of

Ring = tuple[int, ...]


@dataclass(frozen=True)
class Region:
    """A named part of the face.

    Attributes:
        name: what it is called, such as "eyes".
        rings: the closed outlines of its parts, as mesh point numbers (MediaPipe's 478).
        scale: the factors (width, height) by which its box is larger than the landmarks' own; for eyebrows, eyes,
            nose and mouth those of the notebook.
        points68: its points of the 68-point scheme (iBUG 300-W, Sagonas et al. 2013), where that has them.
        around: the mesh points that its box goes around, where those are not just the outlines'.
        holes: closed outlines of what is not part of it.
        slack: the box may be larger than the least rectangle by this fraction, if it then lies better along the eyes.
        above: share of its height by which the box then reaches farther up, away from the eyes.
    """

    name: str
    rings: tuple[Ring, ...]
    scale: tuple[float, float] = (1.0, 1.0)
    points68: tuple[int, ...] = ()
    around: Ring = ()
    holes: tuple[Ring, ...] = ()
    slack: float = 0.0
    above: float = 0.0

    @property
    def points(self) -> tuple[int, ...]:
        """The mesh points that the box goes around."""
        return self.around or tuple(point for ring in self.rings for point in ring)


_LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_LEFT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
_RIGHT_EYE = (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382)
# The box of an eye goes around the lids: a box around the lids' edges is a slit that closes with the eye, and whose
# landmarks backends place less alike than it is high. Those of brows and mouth take in a little below for that reason.
_LEFT_LIDS = (247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25, 130)
_RIGHT_LIDS = (467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255, 359)
_NOSE: Ring = (168, 417, 412, 399, 456, 420, 360, 279, 358, 294, 327, 326)
_NOSE += (2, 97, 98, 64, 129, 49, 131, 198, 236, 174, 188, 193)
_MOUTH = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_FOREHEAD = (54, 103, 67, 109, 10, 338, 297, 332, 284, 298, 333, 299, 337, 151, 108, 69, 104, 68)
_LEFT_CHEEK = (116, 117, 118, 119, 100, 142, 203, 206, 207, 187, 147, 123)
_RIGHT_CHEEK = (345, 346, 347, 348, 329, 371, 423, 426, 427, 411, 376, 352)
_OVAL: Ring = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
_OVAL += (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
_INNER: Ring = (9, 336, 296, 334, 293, 300, 383, 372, 340, 280, 432, 422, 424, 418, 421)
_INNER += (200, 201, 194, 204, 202, 212, 50, 111, 143, 156, 70, 63, 105, 66, 107)

EYEBROW_SCALE = (1.2, 1.5)
# The notebook has both brows in one box. That of one has to be larger to hold its landmarks, whoever finds them:
# backends place a brow's ends 5 to 10 per cent of the distance between the eyes apart, and the tail's height too. So it
# reaches to the middle between the brows, to the temple and up, where there is nothing that it would cover.
ONE_EYEBROW_SCALE = (1.35, 1.6)
_ONE_EYEBROW_ABOVE = 0.2
EYE_SCALE = (1.4, 1.2)
NOSE_SCALE = (1.2, 1.4)
MOUTH_SCALE = (1.4, 1.2)

# The outline of a nose is nearly a triangle, and every rectangle on a side of a triangle has the same area: the least
# one leans by some 17 degrees on the median face, to the one side or the other by chance. A tenth more area ends that.
_NOSE_SLACK = 0.1

_REGIONS = (
    Region(
        "left_eyebrow",
        (_LEFT_BROW,),
        ONE_EYEBROW_SCALE,
        tuple(range(17, 22)),
        (*_LEFT_BROW, 225, 9, 156),
        above=_ONE_EYEBROW_ABOVE,
    ),
    Region(
        "right_eyebrow",
        (_RIGHT_BROW,),
        ONE_EYEBROW_SCALE,
        tuple(range(22, 27)),
        (*_RIGHT_BROW, 445, 9, 383),
        above=_ONE_EYEBROW_ABOVE,
    ),
    Region(
        "eyebrows",
        (_LEFT_BROW, _RIGHT_BROW),
        EYEBROW_SCALE,
        tuple(range(17, 27)),
        (*_LEFT_BROW, 225, *_RIGHT_BROW, 445),
    ),
    Region("left_eye", (_LEFT_EYE,), EYE_SCALE, tuple(range(36, 42)), _LEFT_LIDS),
    Region("right_eye", (_RIGHT_EYE,), EYE_SCALE, tuple(range(42, 48)), _RIGHT_LIDS),
    Region("eyes", (_LEFT_EYE, _RIGHT_EYE), EYE_SCALE, tuple(range(36, 48)), (*_LEFT_LIDS, *_RIGHT_LIDS)),
    Region("nose", (_NOSE,), NOSE_SCALE, tuple(range(27, 36)), slack=_NOSE_SLACK),
    Region("mouth", (_MOUTH,), MOUTH_SCALE, tuple(range(48, 68)), (*_MOUTH, 194, 418)),
    Region("forehead", (_FOREHEAD,)),
    Region("cheeks", (_LEFT_CHEEK, _RIGHT_CHEEK)),
    Region("contour", (_OVAL,), holes=(_INNER,)),
    Region("inner_face", (_INNER,)),
    Region("face", (_OVAL,)),
)
REGIONS: dict[str, Region] = {region.name: region for region in _REGIONS}
FEATURES = ("eyebrows", "eyes", "nose", "mouth")

# How many numbers a step of the search for rectangles may hold: a few hundred megabytes.
MOST_NUMBERS = 2**26

# The corners of the eyes, whose mean is an eye's place whatever way it looks.
_EYE_CORNERS = ((33, 133), (362, 263))


def region(name: str) -> Region:
    """Look a region up; an unknown name is an error that names the nearest.

    Example:
        >>> region("nose").scale
        (1.2, 1.4)
    """
    if name not in REGIONS:
        near = difflib.get_close_matches(str(name), REGIONS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise Error(f"no region {name!r}: {hint}there are {', '.join(REGIONS)}")
    return REGIONS[name]


@dataclass(frozen=True)
class Boxes:
    """Rotated rectangles, one per face.

    Attributes:
        centre: (N, 2), pixels.
        along: (N, 2), the unit vector of the width, from the viewer's left to the right.
        size: (N, 2), width and height in pixels.

    Example:
        >>> box = Boxes(torch.tensor([[5.0, 5]]), torch.tensor([[1.0, 0]]), torch.tensor([[4.0, 2]]))
        >>> box.scaled(2, 1).corners[0].tolist()
        [[1.0, 4.0], [9.0, 4.0], [9.0, 6.0], [1.0, 6.0]]
    """

    centre: Tensor
    along: Tensor
    size: Tensor

    @property
    def down(self) -> Tensor:
        """(N, 2), the unit vector of the height: `along` turned a quarter clockwise as seen on the screen."""
        return _quarter(self.along)

    @property
    def corners(self) -> Tensor:
        """(N, 4, 2): upper left, upper right, lower right, lower left, as seen along the eyes."""
        half = self.size / 2
        x, y = half[:, :1] * self.along, half[:, 1:] * self.down
        return torch.stack([-x - y, x - y, x + y, y - x], dim=1) + self.centre[:, None]

    @property
    def angle(self) -> Tensor:
        """(N,), degrees by which the width is turned clockwise (as seen) from the picture's horizontal."""
        return torch.rad2deg(torch.atan2(self.along[:, 1], self.along[:, 0]))

    def scaled(self, width: float, height: float) -> Boxes:
        """Boxes of the same place and angle, `width` times as wide and `height` times as high."""
        return Boxes(self.centre, self.along, self.size * beside(self.size, [width, height]))

    def extended(self, share: float, away_from: Tensor) -> Boxes:
        """Boxes whose side farther from a point (N, 2) is moved out by this share of their height."""
        side = ((away_from - self.centre) * self.down).sum(-1, keepdim=True).sign()
        more = share * self.size[:, 1:]
        centre = self.centre - side * self.down * more / 2
        return Boxes(centre, self.along, self.size + nn.functional.pad(more, (1, 0)))

    def contains(self, points: Tensor, margin: float = 0.0) -> Tensor:
        """Which points (N, K, 2) lie in their face's box made larger by `margin` pixels: bool (N, K)."""
        from_centre = points - self.centre[:, None]
        x = (from_centre * self.along[:, None]).sum(-1).abs()
        y = (from_centre * self.down[:, None]).sum(-1).abs()
        half = self.size / 2 + margin
        return (x <= half[:, :1]) & (y <= half[:, 1:])

    def mask(self, height: int, width: int) -> Tensor:
        """The pixels of the boxes in pictures of this size: bool (N, 1, height, width).

        As OpenCV fills polygons, a pixel belongs to the box when its centre is inside or the outline runs through it.
        """
        dtype, device = self.centre.dtype, self.centre.device
        x = torch.arange(width, dtype=dtype, device=device) - self.centre[:, 0, None]
        y = torch.arange(height, dtype=dtype, device=device) - self.centre[:, 1, None]
        reach = self.size / 2 + self.along.abs().amax(-1, keepdim=True) / 2
        inside = torch.ones(len(x), height, width, dtype=torch.bool, device=device)
        for axis, limit in ((self.along, reach[:, 0]), (self.down, reach[:, 1])):
            distance = (axis[:, 1, None] * y)[:, :, None] + (axis[:, 0, None] * x)[:, None, :]
            inside &= distance.abs() <= limit[:, None, None]
        return inside[:, None]


def boxes(landmarks: Tensor, name: str, scale: tuple[float, float] | None = None) -> Boxes:
    """The region's rotated box: the rectangle of least area around its landmarks, made larger by `scale`.

    The side nearer to the eye line is the width, whatever the angle. The nose's box may be up to a tenth larger than
    the least rectangle, so that it does not lean (`Region.slack`). For the mesh, an eye's box goes around its lids and
    that of one brow reaches farther (`Region.above`); for 68 points, every box goes around just the points that the
    notebook used, so an eye's is a slit.

    Args:
        landmarks: float (N, 478, 2), (N, 68, 2) or (N, 5, 2), pixels.
        name: a region's name.
        scale: factors of width and height; the region's own (the notebook's) when left out.

    Example:
        >>> face = mean_face(224)[None]
        >>> eyes = boxes(face, "eyes")
        >>> bool(eyes.size[0, 0] > 2 * eyes.size[0, 1])
        True
    """
    chosen = region(name)
    points = _own_points(landmarks, chosen)
    found = least_rectangle(points, eye_axis(landmarks), chosen.slack)
    found = found.scaled(*(chosen.scale if scale is None else scale))
    if not chosen.above or _has_own(landmarks, chosen):
        return found
    return found.extended(chosen.above, away_from=landmarks.mean(1))  # a mirrored face has its brows above its eyes too


def upright_boxes(landmarks: Tensor, name: str, scale: tuple[float, float] = (1.0, 1.0)) -> Boxes:
    """The region's bounding box along the eye line (N boxes); arguments as in `boxes`.

    On an upright face it is the picture's upright bounding box; on a tilted one it tilts with the face.
    """
    axis = eye_axis(landmarks)
    points = _own_points(landmarks, region(name))
    basis = torch.stack([axis, _quarter(axis)], dim=-1)
    low, high = (points @ basis).aminmax(dim=1)
    centre = ((low + high)[:, None] / 2 @ basis.mT)[:, 0]
    return Boxes(centre, axis, high - low).scaled(*scale)


def outlines(landmarks: Tensor, name: str) -> list[Tensor]:
    """The region's true outline: closed polygons (N, V, 2) in pixels, one per part or hole.

    68 and 5 points are completed to the mesh first (`complete`).
    """
    mesh = complete(landmarks)
    chosen = region(name)
    return [points_of(mesh, ring) for ring in (*chosen.rings, *chosen.holes)]


def region_mask(
    landmarks: Tensor,
    name: str,
    height: int,
    width: int,
    shape: str = "box",
    scale: tuple[float, float] | None = None,
) -> Tensor:
    """The region's pixels in pictures of this size: bool (N, 1, height, width).

    Args:
        landmarks: float (N, 478, 2), (N, 68, 2) or (N, 5, 2), pixels.
        name: a region's name.
        height, width: the pictures' size in pixels.
        shape: "box" (rotated), "upright" (along the eye line) or "polygon" (the outline).
        scale: factors of the box's width and height; the region's own when left out; for a polygon both must be
            equal and enlarge it about its centre, 1 when left out.

    Example:
        >>> region_mask(mean_face(64)[None], "mouth", 64, 64).shape
        torch.Size([1, 1, 64, 64])
    """
    check_landmarks(landmarks)
    if shape == "box":
        return boxes(landmarks, name, scale).mask(height, width)
    if shape == "upright":
        return upright_boxes(landmarks, name, region(name).scale if scale is None else scale).mask(
            height, width
        )
    if shape != "polygon":
        raise Error(f"no shape {shape!r}: choose box, upright or polygon")
    rings = outlines(landmarks, name)
    if scale is not None:
        if scale[0] != scale[1]:
            raise Error(
                f"a polygon grows alike in both directions, not by {scale}: give two equal factors"
            )
        centre = upright_boxes(landmarks, name).centre[:, None]
        rings = [centre + scale[0] * (ring - centre) for ring in rings]
    return polygon_mask(rings, height, width)


def polygon_mask(rings: Sequence[Tensor], height: int, width: int) -> Tensor:
    """The pixels inside an odd number of the closed polygons (N, V, 2): bool (N, 1, height, width).

    As OpenCV fills polygons, a pixel belongs to it when its centre is inside or an outline runs through it.
    """
    start = torch.cat(list(rings), 1)
    end = torch.cat([ring.roll(-1, 1) for ring in rings], 1)
    y = torch.arange(height, dtype=start.dtype, device=start.device)
    (x0, y0), (x1, y1) = (ends[..., None].unbind(2) for ends in (start, end))
    crossing = (y0 <= y) != (y1 <= y)
    at = x0 + (y - y0) * (x1 - x0) / torch.where(y0 == y1, 1, y1 - y0)
    # An edge that crosses row y at `at` turns inside and outside about for the pixels to its left, the first ceil(at).
    upto = at.ceil().clamp(0, width).long()
    turns = torch.zeros(len(start), width + 1, height, dtype=torch.int32, device=start.device)
    turns.scatter_add_(1, upto, crossing.int())
    crossed = turns.flip(1).cumsum(1).flip(1)[:, 1:]
    inside = (crossed % 2 == 1).mT
    return (inside | _drawn(start, end, height, width))[:, None]


def _drawn(start: Tensor, end: Tensor, height: int, width: int) -> Tensor:
    """The pixels on lines from `start` to `end` (N, E, 2), one per step along each: bool (N, height, width)."""
    steps = (end - start).abs().amax(-1, keepdim=True).ceil().clamp_min(1)
    # Beyond the picture's own diagonal nothing more can be drawn, however far away a landmark lies.
    most = 2 * (height + width)
    if steps.device.type == "cpu":  # elsewhere to ask would take longer than to draw
        most = int(steps.max().clamp_max(most)) if steps.numel() else 1
    along = (torch.arange(most + 1, dtype=start.dtype, device=start.device) / steps).clamp_max(1)
    points = (start[:, :, None] + along[..., None] * (end - start)[:, :, None]).round().flatten(1, 2)
    x, y = points.unbind(-1)
    outside = (x < 0) | (y < 0) | (x >= width) | (y >= height)
    place = torch.where(outside, height * width, y * width + x).long()
    picture = torch.zeros(len(start), height * width + 1, dtype=torch.bool, device=start.device)
    picture.scatter_(1, place, True)
    return picture[:, :-1].unflatten(1, (height, width))


def least_rectangle(points: Tensor, axis: Tensor, slack: float = 0.0) -> Boxes:
    """The rectangle of least area around each set of points.

    The least rectangle has a side along an edge of the convex hull (Freeman and Shapira 1975), and every edge joins
    two of the points: so all pairs' directions are tried, which is exact and needs no loop over faces.

    Args:
        points: (N, K, 2), K of a few dozen at most.
        axis: (N, 2), unit vectors; the width is the side nearest to them.
        slack: of all rectangles tried whose area is at most (1 + slack) times the least, the one that lies best along
            `axis` is taken.
    """
    count = points.shape[1]
    first, second = torch.triu_indices(count, count, offset=1, device=points.device)
    # The memory for K points is K^3 / 2 numbers a face: more faces than this go in turns.
    turn = max(1, MOST_NUMBERS // (len(first) * count))
    if len(points) > turn:
        parts = [
            least_rectangle(some, its, slack)
            for some, its in zip(points.split(turn), axis.split(turn), strict=True)
        ]
        return Boxes(
            *(torch.cat([getattr(part, key) for part in parts]) for key in ("centre", "along", "size"))
        )
    middle = points.mean(1, keepdim=True)
    centred = points - middle
    edge = centred[:, second] - centred[:, first]
    length = edge.norm(dim=-1, keepdim=True)
    # Points that coincide have no direction: the eye line stands in for it.
    edge = torch.where(length > 0, edge / length, axis[:, None])
    low_x, high_x = (edge @ centred.mT).aminmax(dim=-1)
    low_y, high_y = (_quarter(edge) @ centred.mT).aminmax(dim=-1)
    area = (high_x - low_x) * (high_y - low_y)
    cosine = (edge * axis[:, None]).sum(-1)
    lying = torch.maximum(cosine.abs(), (_quarter(edge) * axis[:, None]).sum(-1).abs())
    least = area.amin(1, keepdim=True)
    if slack:
        best = torch.where(area <= least * (1 + slack), lying, -1.0).argmax(1)
    else:
        best = area.argmin(1)
    row = torch.arange(len(points), device=points.device)
    edge, cosine = edge[row, best], cosine[row, best]
    low = torch.stack([low_x[row, best], low_y[row, best]], -1)
    high = torch.stack([high_x[row, best], high_y[row, best]], -1)
    centre = middle[:, 0] + ((low + high) / 2)[:, :1] * edge + ((low + high) / 2)[:, 1:] * _quarter(edge)
    size = high - low
    sideways = cosine.abs() < math.sqrt(0.5)
    along = torch.where(sideways[:, None], _quarter(edge), edge)
    size = torch.where(sideways[:, None], size.flip(-1), size)
    sign = torch.where((along * axis).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    return Boxes(centre, along * sign, size)


def eye_axis(landmarks: Tensor) -> Tensor:
    """The unit vectors (N, 2) from the left eye's middle to the right eye's."""
    left, right = eye_centres(landmarks)
    across = right - left
    return across / across.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def eye_centres(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """The middles (N, 2) of the left and the right eye, in pixels."""
    check_landmarks(landmarks)
    count = landmarks.shape[1]
    if count == 5:
        return landmarks[:, 0], landmarks[:, 1]
    if count == 68:
        return landmarks[:, 36:42].mean(1), landmarks[:, 42:48].mean(1)
    left, right = (points_of(landmarks, corners).mean(1) for corners in _EYE_CORNERS)
    return left, right


def complete(landmarks: Tensor) -> Tensor:
    """The full mesh (N, 478, 2) for landmarks of any backend.

    478 points come back as they are. From 68 (iBUG order) or 5 points (left eye, right eye, nose, left and right
    corner of the mouth) the mean face is bent so that its own such points fall near them, by a thin-plate spline
    (Bookstein 1989). The mean faces were measured on LFW's training people.
    """
    check_landmarks(landmarks)
    if landmarks.shape[1] == 478:
        return landmarks
    bend = torch.from_numpy(_bend(landmarks.shape[1])).to(landmarks, non_blocking=True)
    # The spline reproduces shifts, so working about the mean costs nothing and keeps float32 exact on large pictures.
    middle = landmarks.mean(1, keepdim=True)
    return bend @ (landmarks - middle) + middle


def mean_face(size: int = 112) -> Tensor:
    """The mean mesh (478, 2) of LFW's training people in an aligned crop of `size` pixels.

    Example:
        >>> mean_face(112).shape
        torch.Size([478, 2])
    """
    mean = torch.from_numpy(mean_shapes()["mesh"].astype(np.float32))
    return (mean + 0.5) * (size / 112) - 0.5


def check_landmarks(landmarks: Tensor) -> None:
    """Raise unless these are landmarks of a known scheme: float (N, 478 | 68 | 5, 2)."""
    if landmarks.ndim != 3 or landmarks.shape[2] != 2 or landmarks.shape[1] not in (478, 68, 5):
        raise Error(
            f"landmarks of shape {tuple(landmarks.shape)}: they must be (N, 478, 2), (N, 68, 2) or (N, 5, 2)"
        )
    if not landmarks.is_floating_point():
        raise Error(f"landmarks must be floating-point pixels, not {landmarks.dtype}")


def _own_points(landmarks: Tensor, chosen: Region) -> Tensor:
    check_landmarks(landmarks)
    if _has_own(landmarks, chosen):
        return points_of(landmarks, chosen.points68)
    return points_of(complete(landmarks), chosen.points)


def _has_own(landmarks: Tensor, chosen: Region) -> bool:
    """Whether these are the 68 points, with some of the region's own: then the box is the notebook's."""
    return landmarks.shape[1] == 68 and bool(chosen.points68)


def _quarter(vector: Tensor) -> Tensor:
    """Turned a quarter clockwise as seen on a screen whose y points down: x becomes y."""
    return torch.stack([-vector[..., 1], vector[..., 0]], dim=-1)


@lru_cache(maxsize=1)
def mean_shapes() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("mean_shapes.npz"), allow_pickle=False) as file:
        return {name: file[name].astype(np.float64) for name in file.files}


@lru_cache(maxsize=4)
def _bend(count: int) -> np.ndarray:
    """The matrix (478, count) that maps a face's points to its mesh: a spline is linear in where its points go."""
    shapes = mean_shapes()
    source, mesh = shapes[f"points{count}"], shapes["mesh"]
    # Found on LFW: points are noisy, and five say little of the rest, so the plate is stiff (an affine map is free).
    stiffness = {5: 300.0, 68: 10.0}[count]
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _plate(source, source) + stiffness * np.eye(count)
    system[:count, count:] = np.column_stack([np.ones(count), source])
    system[count:, :count] = system[:count, count:].T
    weights = np.linalg.solve(system, np.eye(count + 3)[:, :count])
    return np.column_stack([_plate(mesh, source), np.ones(len(mesh)), mesh]) @ weights


def _plate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = ((a[:, None] - b[None]) ** 2).sum(-1)
    return 0.5 * square * np.log(np.maximum(square, 1e-12))
