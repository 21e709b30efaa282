"""Bring every face to the same place: a similarity transform from five points to a fixed template."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Where a 112-pixel face recogniser expects the eyes' centres, the nose's tip and the mouth's corners (x, y); the
# template that ArcFace (Deng et al. 2019) and MobileFaceNet (Chen et al. 2018) made common.
TEMPLATE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

# The mesh points of MediaPipe's 478 that give the five: the two irises' centres, the nose's tip, the mouth's corners.
# "left" is the viewer's left.
_MESH_FIVE = (468, 473, 1, 61, 291)

Points = npt.NDArray[np.floating]


def five_points(mesh: Points) -> Points:
    """The five alignment points (N, 5, 2) or (5, 2) of MediaPipe meshes (N, 478, 2) or (478, 2), in the same pixels."""
    return np.asarray(mesh)[..., _MESH_FIVE, :]


def similarity(source: Points, target: Points) -> npt.NDArray[np.float64]:
    """The similarity transform (2, 3) that brings `source` (K, 2) nearest to `target` (K, 2) in least squares.

    Rotation, one scale and a shift, never a mirror image (Umeyama 1991).

    Example:
        >>> import numpy as np
        >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
        >>> np.round(similarity(square, 2 * square + 3), 6) + 0.0
        array([[2., 0., 3.],
               [0., 2., 3.]])
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    centre_s, centre_t = source.mean(0), target.mean(0)
    # As complex numbers a similarity is z -> a z + b, and least squares has a closed form.
    s = (source - centre_s) @ [1, 1j]
    t = (target - centre_t) @ [1, 1j]
    a = np.vdot(s, t) / np.vdot(s, s).real
    linear = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.column_stack([linear, centre_t - linear @ centre_s])


def template(size: int = 112) -> Points:
    """The five template points (5, 2) for crops of `size` pixels."""
    # Pixel centres are whole numbers, so a crop of another size scales about the corner of the first pixel.
    return (TEMPLATE_112 + 0.5) * (size / 112) - 0.5


def align(
    image: npt.NDArray[np.uint8], mesh: Points, size: int = 112, margin: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Cut an aligned crop out of a photograph.

    Args:
        image: uint8 (H, W, 3), RGB.
        mesh: (478, 2) MediaPipe landmarks in pixels of `image`.
        size: side of the square crop in pixels.
        margin: pixels added around the crop on every side, at the same scale.

    Returns:
        The crop (size + 2 margin, size + 2 margin, 3), uint8 RGB, with the photograph's border repeated where it ends,
        and the landmarks (478, 2) in the crop's pixels.

    Example:
        >>> from facelesion.faces import FEATURES, REGIONS, complete, eye_centres, mean_face, outlines
        >>> photograph, mesh = np.zeros((250, 250, 3), np.uint8), mean_face() + 60
        >>> crop, landmarks = align(photograph, mesh.numpy())
        >>> crop.shape, landmarks.shape
        ((112, 112, 3), (478, 2))
        >>> left, right = eye_centres(mesh[None])
        >>> FEATURES, set(FEATURES) <= set(REGIONS), [len(each[0]) for each in outlines(mesh[None], "eyes")]
        (('eyebrows', 'eyes', 'nose', 'mouth'), True, [16, 16])
        >>> complete(mesh[[468, 473, 1, 61, 291]][None]).shape  # five points are enough, if need be
        torch.Size([1, 478, 2])
    """
    import cv2

    matrix = similarity(five_points(mesh), template(size) + margin)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    # INTER_AREA does not exist for warps: shrinking by more than two would alias, so blur first.
    if scale < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), 0.5 / scale)  # type: ignore[assignment]
    side = size + 2 * margin
    crop = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved = np.asarray(mesh) @ matrix[:, :2].T + matrix[:, 2]
    return crop, moved.astype(np.float32)  # type: ignore[return-value]
