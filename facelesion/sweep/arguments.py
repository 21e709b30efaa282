"""What a sweep is given, looked at where it enters: each mistake is one line that names the argument."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from facelesion.lesions import Calibration, Lesion
from facelesion.lesions.locate import Site, find, unwrap
from facelesion.sweep.errors import SweepError
from facelesion.sweep.options import Options, at_least_one

# Images, or batches of them; of a batch that is a tuple or list the first element counts, as of a DataLoader's.
Batches = Tensor | Iterable[Any]
Units = Sequence[int] | Tensor
# From what a network answers to a tensor with one row per image.
Readout = Callable[[Any], Tensor]


def network(model: object) -> nn.Module:
    """The network itself, out of DataParallel, DistributedDataParallel and `torch.compile`."""
    if not isinstance(model, nn.Module):
        raise SweepError(f"model is a network (a torch.nn.Module), not {_told(model)}")
    return unwrap(model)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters live."""
    tensor = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def readout_of(readout: object) -> Readout:
    """From the network's output to a tensor, whatever was asked for."""
    if readout is None:
        return _itself
    if not callable(readout):
        raise SweepError(
            f"readout is a function from the network's output to a tensor, not a {type(readout).__name__}"
        )

    def read(output: Any) -> Tensor:
        answer = readout(output)
        if not isinstance(answer, Tensor):
            raise SweepError(
                f"readout gives a {type(answer).__name__}: it must give a tensor with a row per image"
            )
        return answer

    return read


def _itself(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise SweepError(f"the network answers with a {type(output).__name__}: say which tensor by readout=")
    return output


def options_of(options: object, batch_size: object = None) -> Options:
    """The options given, or the usual ones; with this batch size where one is given beside."""
    size = None if batch_size is None else at_least_one("batch_size", batch_size)
    if options is None:
        return Options() if size is None else Options(batch_size=size)
    if not isinstance(options, Options):
        raise SweepError(f"options is an Options(...), not {_told(options)}")
    if size not in (None, options.batch_size):
        raise SweepError(
            f"batch_size is {size}, and options say {options.batch_size}: say it once, Options(batch_size={size})"
        )
    return options


def named_lesions(lesions: object) -> Mapping[str, Lesion | None]:
    """Names to lesions, at least one."""
    if not isinstance(lesions, Mapping):
        raise SweepError(f"lesions maps names to lesions, {{'a': Ablate(...)}}, and is not {_told(lesions)}")
    if not lesions:
        raise SweepError("nothing to sweep: give at least one image and one lesion; lesions is empty")
    for name, lesion in lesions.items():
        if not isinstance(name, str):
            raise SweepError(f"lesions: a name is text, not {name!r}")
        if lesion is not None and not isinstance(lesion, Lesion):
            raise SweepError(
                f"lesions[{name!r}] is a lesion, or None for the healthy network, not {_told(lesion)}"
            )
    return dict(lesions)


def drawn_by(seed: object, calibration: object) -> None:
    """Refuses a seed that is no whole number, and a calibration that is none."""
    if _whole(seed) is None:
        raise SweepError(f"seed is a whole number, not {seed!r}")
    if calibration is not None and not isinstance(calibration, Calibration):
        raise SweepError(
            f"calibration comes from calibrate(model, images, lesions), and is not {_told(calibration)}"
        )


def image_numbers(ids: object) -> Tensor | None:
    """Image numbers as int64 (N,); None where the images are to be counted.

    Example:
        >>> image_numbers(range(3, 6)), image_numbers(None)
        (tensor([3, 4, 5]), None)
    """
    if ids is None:
        return None
    if not isinstance(ids, Tensor):
        try:
            given = list(ids)  # type: ignore[call-overload]
        except TypeError:
            given = [None]
        numbers = [_whole(each) for each in given]
        if isinstance(ids, str) or None in numbers:
            raise SweepError(f"ids is a whole number for each image, not {_told(ids)}")
        if any(not -(2**63) <= number < 2**63 for number in numbers if number is not None):
            raise SweepError("ids holds a number that needs more than 64 bits")
        return torch.tensor(numbers, dtype=torch.int64)
    whole = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    if not whole or ids.ndim != 1:
        raise SweepError(f"ids is a whole number for each image, not {_told(ids)}")
    return ids.to("cpu", torch.int64)


def one_tensor(images: object, name: str = "images") -> Tensor:
    """All images as one tensor, at least one."""
    if not isinstance(images, Tensor):
        raise SweepError(f"{name} is one tensor (N, ...), not {_told(images)}{_hint(images)}")
    _check_batch(images, name)
    return images


def in_batches(batches: Batches, size: int) -> Iterator[tuple[range, Tensor]]:
    """Batches one after another, with which images they are; each is looked at, all images have one size and type.

    Args:
        batches: one tensor, cut here into batches of `size`, or an iterable of batches.

    Raises:
        SweepError: no tensors, no images, or images of another size or type than the first.

    Example:
        >>> [rows for rows, batch in in_batches(torch.zeros(5, 3), 2)]
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    begin = 0
    for batch in _batches(batches, size):
        yield range(begin, begin + len(batch)), batch
        begin += len(batch)
    if not begin:
        raise SweepError("nothing to sweep: give at least one image and one lesion; batches holds none")


def _batches(batches: Batches, size: int) -> Iterator[Tensor]:
    if isinstance(batches, Tensor):
        yield from one_tensor(batches, "batches").split(size)
        return
    if isinstance(batches, str | bytes | Mapping) or not isinstance(batches, Iterable) or _array(batches):
        raise SweepError(
            f"batches is one tensor (N, ...) or an iterable of such, not {_told(batches)}{_hint(batches)}"
        )
    if isinstance(batches, list | tuple):
        # All of them are here already: say at once what is wrong with the last one.
        batches = list(_alike(batches))
    yield from _alike(batches)


def _alike(batches: Iterable[Any]) -> Iterator[Tensor]:
    first: Tensor | None = None
    for number, given in enumerate(batches):
        batch, name = given, f"batches[{number}]"
        if isinstance(given, list | tuple) and given:
            batch = given[0]
        if not isinstance(batch, Tensor):
            raise SweepError(
                f"{name} is a tensor of images, or a tuple that begins with one, not {_told(given)}{_hint(batch)}"
            )
        _check_batch(batch, name)
        first = batch if first is None else first
        if (batch.shape[1:], batch.dtype) != (first.shape[1:], first.dtype):
            raise SweepError(
                f"{name}: images {tuple(batch.shape[1:])} of {batch.dtype}, where batches[0] has "
                f"{tuple(first.shape[1:])} of {first.dtype}: sweep each size and type by itself"
            )
        yield batch


def _check_batch(batch: Tensor, name: str) -> None:
    if not batch.ndim or not len(batch):
        raise SweepError(
            f"nothing to sweep: give at least one image and one lesion; {name} is {_told(batch)}, with no image"
        )
    if batch.is_meta or batch.layout != torch.strided:
        raise SweepError(f"{name} is {batch.layout} on {batch.device}: plain numbers are needed")


def sites_of(model: nn.Module, patterns: object, name: str = "sites") -> list[Site]:
    """The sites of one pattern or several, each once."""
    several = [patterns] if isinstance(patterns, str) else list(patterns) if isinstance(patterns, Iterable) else []
    if not several or not all(isinstance(each, str) and each.strip() for each in several):
        wrong = [each for each in several if not isinstance(each, str)]
        inside = f" with {_told(wrong[0])} in it" if wrong and not isinstance(patterns, Tensor) else ""
        inside = inside if several else " without any"
        raise SweepError(f"{name} is a site or several, as text, not {_told(patterns)}{inside}")
    return list(dict.fromkeys(site for pattern in several for site in find(model, pattern)))


def name_of(site: Site) -> str:
    """A site's name as a pattern that finds it again: the network itself is a dot."""
    return ("" if site.path else ".") + str(site) + ("" if site.axis is None else f"@{site.axis}")


def units_of(units: object, name: str) -> tuple[int, ...]:
    """Unit numbers, none twice."""
    given = units.tolist() if isinstance(units, Tensor) else units
    try:
        numbers = [_whole(each) for each in given]  # type: ignore[attr-defined]
    except TypeError:
        numbers = [None]
    chosen = [number for number in numbers if number is not None]
    if len(chosen) < len(numbers) or isinstance(given, str):
        raise SweepError(f"{name} is a list of whole numbers, not {_told(units)}")
    twice = next((number for number in chosen if chosen.count(number) > 1), None) if len(set(chosen)) < len(
        chosen
    ) else None  # fmt: skip
    if twice is not None:
        raise SweepError(f"{name} names unit {twice} twice: each unit is removed once")
    return tuple(chosen)


def units_at(
    model: nn.Module, units: object, name: str, places: Iterable[Site] | None = None
) -> dict[str, tuple[int, ...]]:
    """Units by module path, of a mapping from sites (as patterns of one) to units."""
    if not isinstance(units, Mapping):
        raise SweepError(f"{name} maps sites to units, {{'conv5_1': [3, 7]}}, and is not {_told(units)}")
    known = None if places is None else {site.path for site in places}
    found: dict[str, tuple[int, ...]] = {}
    for pattern, chosen in units.items():
        for site in sites_of(model, pattern, f"{name}: a key"):
            if known is not None and site.path not in known:
                raise SweepError(f"{name}: {pattern!r} is none of the sites that are swept")
            if site != Site(site.path):
                raise SweepError(f"{name}: {pattern!r} is not a whole module")
            if site.path in found:
                raise SweepError(f"{name}: {pattern!r} names a site that another key names as well")
            found[site.path] = units_of(chosen, f"{name}[{pattern!r}]")
    return found


def check_count(chosen: Iterable[int], path: str, count: int, name: str) -> None:
    """Refuses units that a site does not have."""
    beyond = [unit for unit in chosen if not 0 <= unit < count]
    if beyond:
        raise SweepError(f"{name}: {path} has {count} units, numbered from 0: there is no unit {beyond[0]}")


def _whole(value: object) -> int | None:
    """A whole number as an int; None for everything else, True and 1.0 among it."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and (value.ndim or value.dtype == torch.bool)):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _array(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "numpy"


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if _array(value):
        return f"a numpy {type(value).__name__}"
    return (
        f"{value!r}" if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"
    )


def _hint(value: object) -> str:
    if _array(value):
        return ": torch.from_numpy makes a tensor of it"
    return ": say which of its tensors are the images" if isinstance(value, Mapping) else ""
