"""Pictures in: photographs of people, prepared once; the built-in face space; objects; pairs; pictures by role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.data.face_memory import MemoryTest, build_memory_test
    from facelesion.data.facespace import FaceSpace
    from facelesion.data.from_facespace import FaceSpacePictures
    from facelesion.data.from_lfw import LfwPictures
    from facelesion.data.from_people import PeoplePictures
    from facelesion.data.images import read_image
    from facelesion.data.imagesets import FaceSet, ImageSet
    from facelesion.data.lfw import LFW, download_lfw, open_lfw
    from facelesion.data.listing import Listing, list_folder, list_table
    from facelesion.data.materials import Materials, all_pairs
    from facelesion.data.objects import builtin_exemplars, builtin_objects, nonfaces, object_folder
    from facelesion.data.pairs import NamedPair, Pairs, draw_pairs, find_pairs
    from facelesion.data.preparation import Prepared, load_prepared, prepare
    from facelesion.data.seen import refuse_seen
    from facelesion.data.source import Source
    from facelesion.data.sources import SOURCES
    from facelesion.data.splits import Gallery, Split, balanced, gallery, split
    from facelesion.files import LeftOut

__all__ = [
    "LFW", "SOURCES", "FaceSet", "FaceSpace", "FaceSpacePictures", "Gallery", "ImageSet", "LeftOut", "LfwPictures",
    "Listing", "Materials", "MemoryTest", "NamedPair", "Pairs", "PeoplePictures", "Prepared", "Source", "Split",
    "all_pairs", "balanced", "build_memory_test", "builtin_exemplars", "builtin_objects", "download_lfw",
    "draw_pairs", "find_pairs", "gallery", "list_folder", "list_table", "load_prepared", "nonfaces",
    "object_folder", "open_lfw", "prepare", "read_image", "refuse_seen", "split",
]  # fmt: skip

# Pictures are read by some, drawn by others: each takes what it needs of torch, pandas and OpenCV.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "face_memory": ("MemoryTest", "build_memory_test"),
        "facespace": ("FaceSpace",),
        "from_facespace": ("FaceSpacePictures",),
        "from_lfw": ("LfwPictures",),
        "from_people": ("PeoplePictures",),
        "images": ("read_image",),
        "imagesets": ("FaceSet", "ImageSet"),
        "lfw": ("LFW", "download_lfw", "open_lfw"),
        "listing": ("LeftOut", "Listing", "list_folder", "list_table"),
        "materials": ("Materials", "all_pairs"),
        "objects": ("builtin_exemplars", "builtin_objects", "nonfaces", "object_folder"),
        "pairs": ("NamedPair", "Pairs", "draw_pairs", "find_pairs"),
        "preparation": ("Prepared", "load_prepared", "prepare"),
        "seen": ("refuse_seen",),
        "source": ("Source",),
        "sources": ("SOURCES",),
        "splits": ("Gallery", "Split", "balanced", "gallery", "split"),
    },
)
