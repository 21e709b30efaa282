"""Read a photograph, whatever it is, without coming to harm."""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from facelesion.errors import Error, one_line

MAX_PIXELS = 64_000_000
MIN_SIDE = 16
# By which a picture is known in a folder; every other file there is named among what was left out, or is no picture.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif",
    ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
# Pictures too, but of kinds that are not read.
UNREAD_SUFFIXES = (
    ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".jxr", ".psd", ".xcf", ".svg", ".eps",
    ".ai", ".tga", ".pcx", ".ico", ".exr", ".hdr", ".pfm", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw",
    ".srf", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw", ".x3f", ".raw", ".rwl", ".3fr", ".iiq",
)  # fmt: skip

# Decoders that only decode. Pillow's others start programs (EPS) or fetch more files.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

_ORIENTATION_TAG = 0x0112
_SUBFILE_TAG, _BITS_TAG, _SIGN_TAG, _PHOTOMETRIC_TAG, _DNG_TAG = 254, 258, 339, 262, 50706  # of TIFF
_UNREAD_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), "HEIC"),
    b"avif": "AVIF",
}
# EXIF orientation -> (quarter turns anticlockwise, mirrored left-right afterwards).
_ORIENTATIONS = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}

Image = npt.NDArray[np.uint8]


def read_image(
    path: str | Path | bytes, *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE, name: str = "the picture"
) -> Image:
    """Read one picture as 8-bit RGB, upright.

    The camera's EXIF rotation is applied, once; palettes, greyscale and CMYK become RGB; 16-bit greys are scaled to
    8 bits; what is transparent is laid on white; an animation or a multi-page file gives its first picture.
    Colour profiles are not applied.

    Args:
        path: a regular file (JPEG, PNG, BMP, GIF, TIFF, WebP or PPM; its content counts, not its suffix), or the bytes
            of one, which are never written anywhere.
        max_pixels: larger pictures are refused before a pixel is decoded.
        min_side: pictures narrower or lower than this many pixels are refused.
        name: what bytes are called in an error.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        Error: the file is missing, no regular file, empty, no picture, cut short, too large or too
            small.

    Example:
        >>> import tempfile, PIL.Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     PIL.Image.new("CMYK", (30, 20)).save(f"{folder}/white.jpg")
        ...     picture = read_image(f"{folder}/white.jpg")
        >>> picture.shape, picture.dtype, int(picture.min())
        ((20, 30, 3), dtype('uint8'), 255)
    """
    from PIL import TiffImagePlugin, WebPImagePlugin  # noqa: F401  # Pillow knows only the other formats from the start

    if isinstance(path, bytes):
        if not path:
            raise Error(f"{name} is empty: replace it or leave it out")
        return _read(io.BytesIO(path), name, max_pixels, min_side)
    path = Path(path)
    _check_regular(path)
    with open(path, "rb") as file:
        return _read(file, str(path), max_pixels, min_side)


def _read(file: BinaryIO, name: str, max_pixels: int, min_side: int) -> Image:
    from PIL import Image as pillow

    head = file.read(12)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is refused below anyway, and of every oddity in the metadata.
            warnings.simplefilter("ignore")
            with pillow.open(file, formats=_FORMATS) as opened:
                width, height = opened.size
                if width * height > max_pixels:
                    raise Error(
                        f"{name}: {width} x {height} is over {max_pixels / 1e6:g} megapixels: make it smaller"
                    )
                if min(width, height) < min_side:
                    raise Error(
                        f"{name}: {width} x {height} pixels; a side needs at least {min_side}: leave it out"
                    )
                _refuse_previews(opened, name, head)
                # Decoding may turn the picture as well (Pillow turns TIFFs): what is left to do is asked afterwards.
                opened.load()
                turns, mirrored = _orientation(opened)
                pixels = _rgb(opened, name)
    except Error:
        raise
    except pillow.UnidentifiedImageError:
        raise Error(f"{name}: {_what_it_is(head)}") from None
    except pillow.DecompressionBombError:
        raise Error(f"{name}: over {max_pixels / 1e6:g} megapixels: make it smaller") from None
    except Exception as error:  # decoders fail in many ways on damaged files; none of them is a fault of ours
        reason = one_line(error) or type(error).__name__
        raise Error(f"{name}: damaged or cut short ({reason}): replace it or leave it out") from None
    pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def centre_crop(image: Image, size: int) -> Image:
    """The largest central square of a picture, scaled to `size` pixels.

    Args:
        image: uint8 (H, W, 3).
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3), averaged over areas when it shrinks, bicubic when it grows.

    Example:
        >>> import numpy as np
        >>> centre_crop(np.zeros((40, 60, 3), np.uint8), 32).shape
        (32, 32, 3)
    """
    import cv2

    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(square, (size, size), interpolation=how), dtype=np.uint8)


def _check_regular(path: Path) -> None:
    """Only a regular file is opened: a pipe or a device would be read for ever."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Error(f"{str(path)!r} cannot be opened ({reason}): check the path") from None
    if stat.S_ISDIR(found.st_mode):
        raise Error(f"{path} is a folder, not a picture: leave it out")
    if not stat.S_ISREG(found.st_mode):
        raise Error(f"{path} is not a regular file: leave it out")
    if found.st_size == 0:
        raise Error(f"{path} is empty: replace it or leave it out")


def _orientation(opened: object) -> tuple[int, bool]:
    """How to turn the decoded picture upright; metadata that cannot be read turns nothing."""
    try:
        return _ORIENTATIONS.get(int(opened.getexif().get(_ORIENTATION_TAG, 1)), (0, False))  # type: ignore[attr-defined]
    except Exception:  # broken EXIF is common, and the picture is still a picture
        return 0, False


def _what_it_is(head: bytes) -> str:
    """What to say of a file that none of the decoders knows, by its first twelve bytes."""
    brand = _UNREAD_BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    if brand is not None:
        return f"a picture in {brand}, which is not read: save it as JPEG or PNG"
    return "not a picture (JPEG, PNG, BMP, GIF, TIFF, WebP or PPM): replace it or leave it out"


def _refuse_previews(opened: object, name: str, head: bytes) -> None:
    """A camera's raw file is a TIFF whose first picture is a preview the size of a stamp."""
    tags = getattr(opened, "tag_v2", {})
    canon = getattr(opened, "format", "") == "TIFF" and head[8:10] == b"CR"
    if canon or _DNG_TAG in tags or int(tags.get(_SUBFILE_TAG, 0)) & 1:
        raise Error(
            f"{name}: a camera's raw file, of which only the preview could be read: save it as JPEG or PNG"
        )


def _rgb(opened: object, name: str) -> Image:
    """The first picture of an opened file as uint8 (H, W, 3)."""
    from PIL import Image as pillow

    assert isinstance(opened, pillow.Image)
    mode = opened.mode
    tags = getattr(opened, "tag_v2", {})
    signed = any(kind == 2 for kind in np.atleast_1d(tags.get(_SIGN_TAG, 1)))
    if mode == "F" or (tags and (mode == "I" or signed)):
        raise Error(
            f"{name}: {'floating-point' if mode == 'F' else 'signed or 32-bit'} pixels have no known range: "
            "save it with 8 or 16 bits"
        )
    if mode == "LAB":
        raise Error(f"{name}: its colours are kept as Lab, which is not read: save it as RGB")
    if mode == "I" or mode.startswith("I;16"):
        return np.repeat(_levels(opened, name, tags)[:, :, None], 3, axis=2)
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in opened.info:
        over = (opened.convert("LA") if mode == "La" else opened).convert("RGBA")
        white = pillow.new("RGBA", over.size, (255, 255, 255, 255))
        return np.array(pillow.alpha_composite(white, over).convert("RGB"))
    return np.array(opened.convert("RGB"))


def _levels(opened: Any, name: str, tags: Mapping[int, Any]) -> Image:
    """Grey levels of more than 8 bits as uint8 (H, W): white is what the file calls white."""
    grey = np.asarray(opened, dtype=np.int64)
    # Twelve bits come in the lower part of sixteen; whole-bit scales come spread out.
    white = 4095 if tuple(np.atleast_1d(tags.get(_BITS_TAG, 16))) == (12,) else 65535
    if grey.min() < 0 or grey.max() > white:
        raise Error(f"{name}: grey levels beyond 16 bits: save it with 8 or 16 bits")
    levels = ((grey * 255 + white // 2) // white).astype(np.uint8)
    if tags.get(_PHOTOMETRIC_TAG) == 0:  # zero is white
        levels = 255 - levels
    clear = opened.info.get("transparency")
    return np.where(grey == clear, 255, levels).astype(np.uint8) if isinstance(clear, int) else levels
