"""Networks to damage: VGG-Face on VGG16's shape, the built-in small network, and others by name."""

from facelesion.models.frame import frame_of
from facelesion.models.mobilefacenet import MobileFaceNet
from facelesion.models.subject import Preprocessing, Subject
from facelesion.models.vgg import VGGFace
from facelesion.models.zoo import get, look_for, names

__all__ = ["MobileFaceNet", "Preprocessing", "Subject", "VGGFace", "frame_of", "get", "look_for", "names"]
