"""Pictures in: photographs of people, the built-in face space, objects, pairs."""

from facelesion.data.imagesets import FaceSet, ImageSet

__all__ = ["FaceSet", "ImageSet"]
