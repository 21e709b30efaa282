"""Reading photographs: what is a picture comes out upright and RGB, what is not ends in one line."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from facelesion.data.images import centre_crop, read_image
from facelesion.errors import Error


@pytest.fixture
def scene():
    """A picture whose every corner differs."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, (x + y) * 3], 2).astype(np.uint8)


def refusal(path, **options):
    with pytest.raises(Error) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert "\n" not in message and str(path.name) in message
    return message


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm"])
def test_lossless_pictures_come_back_as_they_were(tmp_path, scene, suffix):
    path = tmp_path / f"scene.{suffix}"
    Image.fromarray(scene).save(path, **({"lossless": True} if suffix == "webp" else {}))
    picture = read_image(path)
    assert picture.dtype == np.uint8 and np.array_equal(picture, scene)


def test_bytes_are_read_as_the_file_that_holds_them_is(tmp_path, scene):
    for suffix, kind in (("png", None), ("tiff", None), ("jpg", 6)):
        path = tmp_path / f"scene.{suffix}"
        options = {"exif": Image.Exif()} if kind else {}
        if kind:
            options["exif"][0x0112] = kind
        Image.fromarray(scene).save(path, **options)
        assert np.array_equal(read_image(path.read_bytes()), read_image(path))
    for content, words in ((b"", "is empty"), (b"text", "not a picture"), (path.read_bytes()[:300], "cut short")):
        with pytest.raises(Error, match=f"^what came.*{words}"):
            read_image(content, name="what came")


# What each EXIF orientation asks for, written out on the rows and columns of the stored picture.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),
}
TURNED = [
    ("turned.png", {}),
    ("turned.tiff", {}),
    ("turned.tif", {"compression": "tiff_lzw"}),
    ("turned.tiff", {"compression": "tiff_adobe_deflate", "big_tiff": True}),
    ("turned.webp", {"lossless": True}),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "options"), TURNED)
def test_every_exif_orientation_is_turned_upright_once(tmp_path, scene, orientation, name, options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene).save(tmp_path / name, exif=exif, **options)
    assert np.array_equal(read_image(tmp_path / name), UPRIGHT[orientation](scene))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_cameras_photograph_is_turned_upright_once(tmp_path, orientation, kind):
    y, x = np.mgrid[0:32, 0:48]
    smooth = np.stack([x * 5, y * 7, 255 - x * 5], 2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"save_all": True, "append_images": [Image.new("RGB", (48, 32))]} if kind == "MPO" else {}
    Image.fromarray(smooth).save(tmp_path / "a.jpg", kind, exif=exif, quality=98, subsampling=0, **more)
    found, wanted = read_image(tmp_path / "a.jpg").astype(int), UPRIGHT[orientation](smooth).astype(int)
    assert found.shape == wanted.shape and np.abs(found - wanted).max() < 12


def test_an_orientation_said_in_xmp_alone_is_followed(tmp_path, scene):
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta tiff:Orientation="6"/>')
    Image.fromarray(scene).save(tmp_path / "x.png", pnginfo=note)
    assert np.array_equal(read_image(tmp_path / "x.png"), UPRIGHT[6](scene))


def test_broken_exif_turns_nothing(tmp_path, scene):
    path = tmp_path / "broken.jpg"
    Image.fromarray(scene).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage", quality=95)
    assert read_image(path).shape == scene.shape


def test_sixteen_bit_grey_is_scaled_not_cut_off(tmp_path):
    levels = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(np.uint16)
    for suffix in ("png", "tiff"):
        path = tmp_path / f"deep.{suffix}"
        Image.fromarray(levels).save(path)
        picture = read_image(path)
        assert picture.shape == (24, 24, 3)
        assert np.abs(picture[..., 0] - levels / 257).max() <= 0.5 + 1e-9


def test_cmyk_becomes_rgb(tmp_path):
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(path, quality=95)
    red, green, blue = read_image(path)[10, 10].tolist()
    assert red > 230 and green < 30 and blue < 30


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "L"])
def test_other_modes_become_rgb_and_what_is_transparent_becomes_white(tmp_path, mode):
    path = tmp_path / "mode.png"
    if mode == "P":
        picture = Image.new("P", (20, 20), 0)
        picture.putpalette([10, 20, 30] * 256)
        picture.save(path, transparency=0)
    else:
        picture = Image.new(mode, (20, 20), 0)
        picture.save(path)
    value = 255 if mode in ("RGBA", "LA", "P") else 0
    assert (read_image(path) == value).all() and read_image(path).shape == (20, 20, 3)


@pytest.mark.parametrize("suffix", ["gif", "webp", "tiff", "png"])
def test_an_animation_or_many_pages_give_the_first_picture(tmp_path, suffix):
    path = tmp_path / f"many.{suffix}"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    red, green, blue = read_image(path)[5, 5].tolist()
    assert red > 150 and green < 50 and blue < 50


def test_the_content_counts_not_the_suffix(tmp_path, scene):
    path = tmp_path / "really_a_png.jpg"
    Image.fromarray(scene).save(path, format="PNG")
    assert np.array_equal(read_image(path), scene)


def test_unicode_and_odd_names_are_only_names(tmp_path, scene):
    for name in ("Zoë Łukasz 王.png", "-rf.png", "a;b|c$(d).png", "%2e%2e.png", "line\nbreak.png"):
        path = tmp_path / name
        Image.fromarray(scene).save(path)
        assert read_image(path).shape == scene.shape


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"this is a letter, not a photograph\n" * 50, "not a picture"),
        ("drawing.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\nshowpage\n", "not a picture"),
        ("vector.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'/>", "not a picture"),
        ("zeros.png", bytes(1000), "not a picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, name, content, word):
    path = tmp_path / name
    path.write_bytes(content)
    assert word in refusal(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    assert "check the path" in refusal(tmp_path / "nowhere.jpg")
    (tmp_path / "folder.jpg").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.jpg")
    with pytest.raises(Error, match="check the path"):
        read_image("a\0b.jpg")


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "regular file" in refusal(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    assert "regular file" in refusal(tmp_path / "zero.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tiff", "webp", "bmp"])
def test_a_picture_cut_short_is_refused_wherever_it_is_cut(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(noise).save(whole)
    content = whole.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        cut = tmp_path / f"cut_{share}.{suffix}"
        cut.write_bytes(content[: int(len(content) * share)])
        refusal(cut)


def test_a_picture_too_small_to_show_anything_is_refused(tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert "1 x 1" in refusal(tmp_path / "dot.png")


def png_of_claimed_size(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000, 2**31 - 1])
def test_pictures_of_a_hundred_megapixels_and_more_are_refused_unread(tmp_path, side, recwarn):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_claimed_size(side, side))
    assert "megapixels" in refusal(path)
    assert not recwarn.list, "one line is enough: no warning beside it"


def test_the_limit_of_pixels_is_the_callers(tmp_path, scene):
    path = tmp_path / "scene.png"
    Image.fromarray(scene).save(path)
    assert "megapixels" in refusal(path, max_pixels=24 * 40 - 1)
    assert read_image(path, max_pixels=24 * 40).shape == scene.shape


def test_text_chunks_that_unpack_to_far_more_do_no_harm(tmp_path):
    packed = zlib.compress(bytes(20_000_000), 9)
    data = b"Comment\0\0" + packed
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    Image.new("RGB", (20, 20)).save(tmp_path / "plain.png")
    plain = (tmp_path / "plain.png").read_bytes()
    path = tmp_path / "talkative.png"
    path.write_bytes(plain[:33] + chunk + plain[33:])
    refusal(path)


def test_floating_point_pixels_are_refused_with_the_remedy(tmp_path):
    Image.fromarray(np.ones((20, 20), np.float32)).save(tmp_path / "real.tiff")
    assert "8 or 16 bits" in refusal(tmp_path / "real.tiff")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.integers(0, 2000),
    value=st.integers(0, 255),
    suffix=st.sampled_from(["jpg", "png", "gif", "tiff"]),
)
def test_one_wrong_byte_gives_a_picture_or_one_line_and_nothing_else(tmp_path, place, value, suffix):
    path = tmp_path / f"flipped.{suffix}"
    scene = np.arange(24 * 24 * 3, dtype=np.uint8).reshape(24, 24, 3)
    Image.fromarray(scene).save(path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    try:
        picture = read_image(path)
    except Error as error:
        assert "\n" not in str(error)
    else:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


def test_centre_crop_takes_the_largest_central_square(scene):
    square = centre_crop(scene, 24)
    assert np.array_equal(square, scene[:, 8:32])
    assert centre_crop(scene, 12).shape == (12, 12, 3) and centre_crop(scene, 48).shape == (48, 48, 3)


def test_a_phones_picture_with_a_second_one_inside_gives_the_first(tmp_path):
    first, second = Image.new("RGB", (20, 20), (200, 0, 0)), Image.new("RGB", (20, 20), (0, 0, 200))
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    red, _, blue = read_image(tmp_path / "phone.jpg")[5, 5].tolist()
    assert red > 150 and blue < 50


def tiff(levels, bits, photometric=1, sign=1, extra=()):
    """A plain grey TIFF written by hand; `levels` are the bytes of its one strip, 20 pixels square."""
    entries = [
        (256, 3, 20), (257, 3, 20), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8), (277, 3, 1),
        (278, 3, 20), (279, 4, len(levels)), (339, 3, sign), *extra,
    ]  # fmt: skip
    entries.sort()
    head = struct.pack("<2sHI", b"II", 42, 8 + len(levels))
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return head + levels + struct.pack("<H", len(entries)) + table + struct.pack("<I", 0)


def test_twelve_bits_in_sixteen_are_as_bright_as_they_were(tmp_path):
    # Two pixels of 0xFFF in three bytes: white.
    (tmp_path / "x.tif").write_bytes(tiff(b"\xff" * (20 * 20 * 3 // 2), 12))
    assert (read_image(tmp_path / "x.tif") == 255).all()


def test_deep_greys_whose_zero_is_white_are_no_negatives(tmp_path):
    (tmp_path / "x.tif").write_bytes(tiff(bytes(800), 16, photometric=0))
    assert (read_image(tmp_path / "x.tif") == 255).all()


@pytest.mark.parametrize(("bits", "sign"), [(8, 2), (16, 2), (32, 1), (32, 2), (32, 3)])
def test_pixels_whose_range_nobody_said_are_refused(tmp_path, bits, sign):
    (tmp_path / "x.tif").write_bytes(tiff(bytes([100] * (50 * bits)), bits, sign=sign))
    assert "no known range" in refusal(tmp_path / "x.tif")


def test_what_is_transparent_in_sixteen_bits_becomes_white_too(tmp_path):
    levels = np.full((20, 20), 40000, np.uint16)
    levels[:10] = 7
    Image.fromarray(levels).save(tmp_path / "x.png", transparency=7)
    picture = read_image(tmp_path / "x.png")
    assert (picture[:10] == 255).all() and (picture[10:] == 156).all()


@pytest.mark.parametrize("extra", [(254, 4, 1), (50706, 4, 0x104)])
def test_a_cameras_raw_file_is_not_read_as_its_preview(tmp_path, extra):
    (tmp_path / "x.dng").write_bytes(tiff(bytes(400), 8, extra=(extra,)))
    assert "raw file" in refusal(tmp_path / "x.dng")


@pytest.mark.parametrize(("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")])
def test_pictures_of_a_kind_that_is_not_read_say_so_whatever_their_suffix(tmp_path, brand, name):
    (tmp_path / "x.jpg").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(400))
    assert f"in {name}, which is not read" in refusal(tmp_path / "x.jpg")


def test_a_name_of_three_hundred_letters_is_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Error, match="check the path"):
        read_image(tmp_path / ("a" * 300 + ".jpg"))
