"""Photographs of people as sources of pictures find them: prepared once, then read from where they are kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from facelesion.data.imagesets import FaceSet
from facelesion.data.lfw import LFW, open_lfw
from facelesion.data.preparation import is_prepared, left_out_of, load_prepared, prepare, prepared_place
from facelesion.files import LeftOut
from facelesion.ranges import PathText
from facelesion.settings import SettingError


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """How photographs become aligned faces with landmarks.

    Attributes:
        prepared: the folder where aligned crops and landmarks are kept, as `facelesion prepare` writes it. What is
            finished there is read as it is: no model file is needed, and no photograph is looked at. In the user's
            cache folder (`FACELESION_CACHE`, else `~/.cache/facelesion`) when left out.
        landmarks: what finds the landmarks.
        landmarker: the model file of what finds them, such as MediaPipe's `face_landmarker.task`, which is fetched once
            when left out.
    """

    prepared: PathText | None = None
    landmarks: Literal["mediapipe", "dlib", "mtcnn"] = "mediapipe"
    landmarker: PathText | None = None
    places: ClassVar[tuple[str, ...]] = ("prepared", "landmarker")

    def faces(self, root: str | Path, size: int) -> tuple[FaceSet, tuple[LeftOut, ...]]:
        """The faces of the photographs at `root`, and the photographs that were left out.

        Where crops of them are kept is told on standard error: they are pictures of people.

        Raises:
            SettingError: `prepared` beside a `root` that is prepared itself.
            Error: nothing can be prepared: see `facelesion.data.prepare`.
        """
        if is_prepared(root):
            if self.prepared is not None:
                raise SettingError("pictures.prepared", f"does nothing: {root} is a prepared folder itself")
            return load_prepared(root), left_out_of(root)
        folder = Path(self.prepared or prepared_place(root, size, self.landmarks))
        if not (self.prepared and is_prepared(folder)):
            print(f"Crops of the faces in {root} are kept in {folder}", file=sys.stderr, flush=True)
            prepare(root, folder, landmarks=self.landmarks, model=self.landmarker, size=size)
        return load_prepared(folder), left_out_of(folder)


@dataclass(frozen=True, kw_only=True)
class LfwPlace(Photographs):
    """Where Labeled Faces in the Wild (Huang et al. 2007) is, and how its photographs become faces.

    Attributes:
        root: LFW's folder of people, or its archive.
        protocols: the folder of LFW's protocol files; found beside `root` when left out.
    """

    root: PathText
    protocols: PathText | None = None
    places: ClassVar[tuple[str, ...]] = (*Photographs.places, "root", "protocols")

    def open(self) -> LFW:
        """LFW as it lies there, unpacked if it is an archive.

        Raises:
            Error: it is not there.
        """
        return open_lfw(self.root, self.protocols)
