"""Networks to damage: VGG-Face on VGG16's shape, the built-in small network, and where their weights lie."""

from facelesion.models.mobilefacenet import MobileFaceNet
from facelesion.models.store import weights_path
from facelesion.models.subject import Subject
from facelesion.models.vgg import VGGFace, site_aliases, vgg_face
from facelesion.models.zoo import get, names

__all__ = ["MobileFaceNet", "Subject", "VGGFace", "get", "names", "site_aliases", "vgg_face", "weights_path"]
