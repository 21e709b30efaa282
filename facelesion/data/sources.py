"""Where a study's pictures can come from: one list."""

from facelesion.data.from_facespace import FaceSpacePictures
from facelesion.data.from_lfw import LfwPictures
from facelesion.data.from_people import PeoplePictures
from facelesion.data.source import Source

#: Every source by its name. One more is one line. See docs/extending.md.
SOURCES: dict[str, type[Source]] = {
    source.name: source for source in (FaceSpacePictures, LfwPictures, PeoplePictures)
}
