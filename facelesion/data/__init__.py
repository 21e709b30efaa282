"""Pictures in: photographs of people, the built-in face space, objects, pairs."""

from facelesion.data.images import read_image
from facelesion.data.imagesets import FaceSet, ImageSet
from facelesion.data.lfw import LFW, download_lfw, open_lfw
from facelesion.data.listing import Listing, list_folder, list_table
from facelesion.data.objects import builtin_exemplars, builtin_objects, nonfaces, object_folder
from facelesion.data.pairs import NamedPair, Pairs, draw_pairs, find_pairs

__all__ = [
    "LFW",
    "FaceSet",
    "ImageSet",
    "Listing",
    "NamedPair",
    "Pairs",
    "builtin_exemplars",
    "builtin_objects",
    "download_lfw",
    "draw_pairs",
    "find_pairs",
    "list_folder",
    "list_table",
    "nonfaces",
    "object_folder",
    "open_lfw",
    "read_image",
]
