"""One photograph, four pictures: each feature sharp by itself, as the notebook looked for its responsible units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facelesion.data.images import read_image
from facelesion.errors import Error
from facelesion.faces.landmarks import choose, landmark_backend
from facelesion.faces.stimuli import Isolate


def features_alone(
    photograph: str | Path,
    features: tuple[str, ...],
    size: int = 224,
    landmarks: str = "mediapipe",
    model: str | Path | None = None,
) -> Tensor:
    """Show each feature of a photographed face sharp and everything else blurred.

    The whole photograph is squeezed into a square, as the notebook does.

    Args:
        photograph: a picture of one face.
        features: regions, such as ("eyebrows", "eyes", "nose", "mouth").
        size: side of the pictures in pixels.
        landmarks: what finds the face: mediapipe, dlib (as the notebook) or mtcnn.
        model: that backend's model file.

    Returns:
        Float (features, 3, size, size), RGB in [0, 1].

    Raises:
        Error: no readable picture, or no face in it.
    """
    import cv2

    squeezed = cv2.resize(read_image(photograph), (size, size), interpolation=cv2.INTER_AREA)
    picture = np.ascontiguousarray(squeezed, dtype=np.uint8)
    backend = landmark_backend(landmarks, model)
    try:
        face = choose(backend.find(picture), size, size)
    finally:
        backend.close()
    if face is None:
        raise Error(f"{photograph}: no face found: give a photograph of one face")
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    points = torch.from_numpy(np.asarray(face.mesh, np.float32))[None]
    return torch.cat([Isolate(feature, fill="blur")(image, points) for feature in features])
