"""Read a photograph, whatever it is, without coming to harm."""

from __future__ import annotations

import stat
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facelesion.errors import FacelesionError

MAX_PIXELS = 64_000_000
MIN_SIDE = 16
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

# Decoders that only decode. Pillow's others start programs (EPS) or fetch more files.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

_ORIENTATION_TAG = 0x0112
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


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE) -> Image:
    """Read one picture as 8-bit RGB, upright.

    The camera's EXIF rotation is applied; palettes, greyscale and CMYK become RGB; 16-bit greys are scaled to
    8 bits; what is transparent is laid on white; an animation or a multi-page file gives its first picture.
    Colour profiles are not applied.

    Args:
        path: a regular file (JPEG, PNG, BMP, GIF, TIFF, WebP or PPM; its content counts, not its suffix).
        max_pixels: larger pictures are refused before a pixel is decoded.
        min_side: pictures narrower or lower than this many pixels are refused.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        FacelesionError: the file is missing, no regular file, empty, no picture, cut short, too large or too
            small.

    Example:
        >>> import tempfile, PIL.Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     PIL.Image.new("CMYK", (30, 20)).save(f"{folder}/white.jpg")
        ...     picture = read_image(f"{folder}/white.jpg")
        >>> picture.shape, picture.dtype, int(picture.min())
        ((20, 30, 3), dtype('uint8'), 255)
    """
    from PIL import Image as pillow
    from PIL import TiffImagePlugin, WebPImagePlugin  # noqa: F401  # Pillow knows only the other formats from the start

    path = Path(path)
    _check_regular(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is refused below anyway, and of every oddity in the metadata.
            warnings.simplefilter("ignore")
            with pillow.open(path, formats=_FORMATS) as opened:
                width, height = opened.size
                if width * height > max_pixels:
                    raise FacelesionError(
                        f"{path}: {width} x {height} is over {max_pixels / 1e6:g} megapixels: make it smaller"
                    )
                if min(width, height) < min_side:
                    raise FacelesionError(
                        f"{path}: {width} x {height} pixels; a side needs at least {min_side}: leave it out"
                    )
                turns, mirrored = _orientation(opened)
                pixels = _rgb(opened, path)
    except FacelesionError:
        raise
    except pillow.UnidentifiedImageError:
        raise FacelesionError(
            f"{path}: not a picture (JPEG, PNG, BMP, GIF, TIFF, WebP or PPM): replace it or leave it out"
        ) from None
    except pillow.DecompressionBombError:
        raise FacelesionError(f"{path}: over {max_pixels / 1e6:g} megapixels: make it smaller") from None
    except Exception as error:  # decoders fail in many ways on damaged files; none of them is a fault of ours
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FacelesionError(
            f"{path}: damaged or cut short ({reason}): replace it or leave it out"
        ) from None
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
        raise FacelesionError(f"{str(path)!r} cannot be opened ({reason}): check the path") from None
    if stat.S_ISDIR(found.st_mode):
        raise FacelesionError(f"{path} is a folder, not a picture: leave it out")
    if not stat.S_ISREG(found.st_mode):
        raise FacelesionError(f"{path} is not a regular file: leave it out")
    if found.st_size == 0:
        raise FacelesionError(f"{path} is empty: replace it or leave it out")


def _orientation(opened: object) -> tuple[int, bool]:
    """How to turn the picture upright; metadata that cannot be read turns nothing."""
    try:
        return _ORIENTATIONS.get(int(opened.getexif().get(_ORIENTATION_TAG, 1)), (0, False))  # type: ignore[attr-defined]
    except Exception:  # broken EXIF is common, and the picture is still a picture
        return 0, False


def _rgb(opened: object, path: Path) -> Image:
    """The first picture of an opened file as uint8 (H, W, 3)."""
    from PIL import Image as pillow

    assert isinstance(opened, pillow.Image)
    mode = opened.mode
    if mode == "I" or mode.startswith("I;16"):
        grey = np.asarray(opened, dtype=np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise FacelesionError(f"{path}: grey levels beyond 16 bits: save it with 8 or 16 bits")
        levels = ((grey * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(levels[:, :, None], 3, axis=2)
    if mode == "F":
        raise FacelesionError(f"{path}: floating-point pixels have no known range: save it with 8 or 16 bits")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in opened.info:
        over = opened.convert("RGBA")
        white = pillow.new("RGBA", over.size, (255, 255, 255, 255))
        return np.array(pillow.alpha_composite(white, over).convert("RGB"))
    return np.array(opened.convert("RGB"))
