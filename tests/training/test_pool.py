"""What seeds share is made once, and everyone's part of it shows their own people alone."""

from pathlib import Path

import pytest
import torch

from facelesion.data import ImageSet
from facelesion.errors import Error
from facelesion.locks import locked
from facelesion.training.pool import drawn_part, open_pool
from facelesion.training.views import Shares, count_views, draw_views, make_views

SHARES = Shares(plain=1, moved=1, blended=1.5, composite=0.5)


def faces(people: int = 6) -> ImageSet:
    """One brightness per person, two photographs of each: what a view is made of can be read off it."""
    grey = (torch.arange(people) * 40 + 10).to(torch.uint8).repeat_interleave(2)
    images = grey[:, None, None, None].expand(-1, 3, 112, 112).contiguous()
    names = tuple(f"p{i // 2}/{i % 2}" for i in range(2 * people))
    return ImageSet(images, tuple(name[:2] for name in names), names)


def test_views_say_whom_they_were_made_of() -> None:
    shown = faces()
    first = list(draw_views(shown.images, SHARES, seed=3))
    made, of = torch.cat([views for views, _ in first]), torch.cat([rows for _, rows in first])
    assert len(made) == count_views(12, SHARES) == 12 + 12 + 18 + 6
    assert torch.equal(made, make_views(shown.images, SHARES, seed=3))
    grey = shown.images[:, 0, 0, 0].float()
    for view, (a, b) in zip(made.float(), of.tolist(), strict=True):
        low, high = sorted((float(grey[a]), float(grey[b])))
        assert low - 1 <= float(view.min()) and float(view.max()) <= high + 1
    assert bool((of[:24, 0] == of[:24, 1]).all()) and bool((of[24:42, 0] != of[24:42, 1]).any())


def test_a_part_of_the_pool_shows_its_own_people_and_nobody_else(tmp_path: Path) -> None:
    pool = open_pool(faces(), SHARES, 0, tmp_path)
    own = pool.rows_of(["p0", "p1", "p2", "p3"])
    assert 0 < len(own) < len(pool.images)
    assert float(pool.images[own].max()) <= 3 * 40 + 10 + 1  # p4 and p5 are brighter
    plain = own[own < pool.plain]
    assert pool.labels(plain) == tuple(name[:2] for name in faces().names[:8])
    two = torch.nonzero(pool.shown[:, 0] != pool.shown[:, 1])[:1, 0]
    with pytest.raises(Error, match="a picture of nobody"):
        pool.labels(two)


def test_the_pool_is_made_once_and_the_teacher_asked_once(tmp_path: Path) -> None:
    asked = []

    class Teacher(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            asked.append(len(images))
            return images.mean((2, 3))

    for _ in range(2):
        pool = open_pool(faces(), SHARES, 0, tmp_path)
        answers = pool.taught(Teacher(), "abc", progress=False)
    assert sum(asked) == len(pool.images) == len(answers)
    assert answers.norm(dim=1).sub(1).abs().max() < 1e-5
    assert len(list(tmp_path.iterdir())) == 1
    open_pool(faces(), SHARES, 1, tmp_path)
    open_pool(faces(5), SHARES, 0, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_pool_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    whole = open_pool(faces(), SHARES, 0, tmp_path)
    expected = whole.images.clone()
    (whole.folder / "pool.json").unlink()
    (whole.folder / "images.npy").write_bytes(b"half")
    assert torch.equal(open_pool(faces(), SHARES, 0, tmp_path).images, expected)


def test_what_is_whole_is_read_while_somebody_else_is_at_it_and_holds_no_lock(tmp_path: Path) -> None:
    whole = open_pool(faces(), SHARES, 0, tmp_path)
    assert not list(whole.folder.glob(".*"))
    with locked(whole.folder / ".lock"):
        assert torch.equal(open_pool(faces(), SHARES, 0, tmp_path).images, whole.images)


def test_a_pool_s_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Error, match=r"file/views-\w+ cannot be written \(.*\): name another folder"):
        open_pool(faces(), SHARES, 0, tmp_path / "file")


def test_plain_views_are_needed(tmp_path: Path) -> None:
    with pytest.raises(Error, match="plain is 0"):
        open_pool(faces(), Shares(plain=0), 0, tmp_path)


def test_seeds_draw_other_parts_and_the_order_of_names_does_not_matter() -> None:
    names = [f"p{i}" for i in range(50)]
    inside, outside = drawn_part(names, 0.8, (1, 2))
    assert len(inside) == 40 and set(inside) | set(outside) == set(names) and not set(inside) & set(outside)
    assert drawn_part(names[::-1], 0.8, (1, 2)) == (inside, outside)
    assert set(drawn_part(names, 0.8, (2, 2))[0]) != set(inside)


@pytest.mark.parametrize("content", [b"", b"half"])
@pytest.mark.parametrize("name", ["images.npy", "shown.npy"])
def test_a_pool_that_cannot_be_read_is_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    whole = open_pool(faces(), SHARES, 0, tmp_path)
    (whole.folder / name).write_bytes(content)
    with pytest.raises(Error, match=r"views-\w+: .*: delete the folder, and it is made again"):
        open_pool(faces(), SHARES, 0, tmp_path)
