"""Learn a face space from photographs: principal components, and who against how.

Used by `scripts/build_facespace.py`; nothing here is needed to draw faces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from facelesion.data.facespace import CANVAS, CROP, FaceSpace, flatten_texture, unwarp, warp_matrix

Array = npt.NDArray[np.float32]


def learn_face_space(
    canvases: npt.NDArray[np.uint8],
    landmarks: Array,
    people: Sequence[str],
    texture_count: int = 200,
    shape_count: int = 40,
    seed: int = 0,
) -> FaceSpace:
    """Fit shape, texture and the two covariances.

    Args:
        canvases: uint8 RGB (N, CANVAS, CANVAS, 3): aligned crops with the margin (`align(..., margin=MARGIN)`).
        landmarks: (N, 478, 2) in pixels of the crop (the margin's pixels are negative).
        people: who each picture shows. People with one picture teach the components, those with more also the
            covariances.
        texture_count, shape_count: how many principal components to keep.

    Returns:
        The face space. Between-person covariance is what remains of the people's means' covariance after taking off
        what their few pictures' own scatter adds to it, its negative directions set to zero.
    """
    shape_mean = landmarks.mean(0).astype(np.float32)
    warp = warp_matrix(shape_mean)
    # The face itself counts fully, what surrounds it a quarter: components are for faces, not for wallpaper.
    weight = np.sqrt(_importance(shape_mean))
    textures = np.concatenate(
        [
            flatten_texture(
                unwarp(
                    torch.from_numpy(canvases[i : i + 256]).permute(0, 3, 1, 2),
                    torch.from_numpy(landmarks[i : i + 256] - shape_mean),
                    warp,
                )
            )
            for i in range(0, len(canvases), 256)
        ]
    )
    texture_mean = textures.mean(0)
    textures -= texture_mean
    textures *= weight
    components, texture_scores = _principal_components(textures, texture_count, seed)
    shapes = (landmarks - shape_mean).reshape(len(landmarks), -1)
    shape_components, shape_scores = _principal_components(shapes.astype(np.float32), shape_count, seed)
    between, within = covariance_factors(np.concatenate([texture_scores, shape_scores], 1), people)
    return FaceSpace(
        texture_mean=texture_mean,
        texture_components=(components / weight).astype(np.float32),
        shape_mean=shape_mean,
        shape_components=shape_components.reshape(shape_count, -1, 2),
        between=between,
        within=within,
    )


def covariance_factors(vectors: Array, people: Sequence[str]) -> tuple[Array, Array]:
    """Factors A (K, K), covariance = A Aᵀ, of between-person and within-person variation of vectors (N, K).

    The within-person covariance is pooled over people with two pictures or more. The between-person covariance is
    that of their means, less the share of within-person covariance a mean of n pictures still holds, averaged over
    people.
    """
    _, who, count = np.unique(np.asarray(people), return_inverse=True, return_counts=True)
    repeated = count[who] >= 2
    vectors, who = vectors[repeated].astype(np.float64), who[repeated]
    _, who, count = np.unique(who, return_inverse=True, return_counts=True)
    means = np.zeros((len(count), vectors.shape[1]))
    np.add.at(means, who, vectors)
    means /= count[:, None]
    # One person with 500 pictures must not stand for everybody's variation: pictures weigh at most as 10.
    picture_weight = (np.minimum(count, 10) / count)[who]
    residual = vectors - means[who]
    degrees = (np.minimum(count, 10) * (count - 1) / count).sum()
    within = (residual * picture_weight[:, None]).T @ residual / degrees
    total = np.cov(means.T)
    between = total - within * (1 / count).mean()
    return _factor(between), _factor(within)


def _factor(covariance: npt.NDArray[np.float64]) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))).astype(np.float32)


def _principal_components(data: Array, count: int, seed: int) -> tuple[Array, Array]:
    """Orthonormal directions (count, P) of largest variance of centred data (N, P), and the scores (N, count)."""
    torch.manual_seed(seed)
    matrix = torch.from_numpy(data)
    _, _, directions = torch.svd_lowrank(matrix, q=count + 20, niter=4)
    # A direction's sign is arbitrary: fix it, so that the same photographs give the same file.
    directions = directions[:, :count]
    directions = directions * torch.sign(directions.sum(0) + 1e-12)
    return directions.T.contiguous().numpy(), (matrix @ directions).numpy()


def _importance(shape_mean: Array) -> Array:
    """How much each entry of a flat texture counts: 1 within the mean face's outline, 1/4 outside."""
    import cv2

    outline = cv2.convexHull(shape_mean + (CANVAS - CROP) // 2).round().astype(np.int32)
    luma = cv2.fillConvexPoly(np.full((CANVAS, CANVAS), 0.25, np.float32), outline, 1.0)
    luma = cv2.GaussianBlur(luma, (0, 0), 3)
    chroma = cv2.resize(luma, (CANVAS // 2, CANVAS // 2), interpolation=cv2.INTER_AREA)
    return np.concatenate([luma.ravel(), chroma.ravel(), chroma.ravel()]).astype(np.float32)
