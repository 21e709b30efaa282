"""The formats that VGG-Face's weights went round in, each read as numbers and nothing else."""

from facelesion.models.formats.hdf5 import read_keras
from facelesion.models.formats.layers import FULLY_CONNECTED, NAMES, PUBLISHED, Found, Layers, Layout
from facelesion.models.formats.matconvnet import read_matconvnet
from facelesion.models.formats.pytorch import read_pytorch
from facelesion.models.formats.torch7 import read_torch7

__all__ = [
    "FULLY_CONNECTED",
    "NAMES",
    "PUBLISHED",
    "Found",
    "Layers",
    "Layout",
    "read_keras",
    "read_matconvnet",
    "read_pytorch",
    "read_torch7",
]
