"""A network is tried out on two images before it is swept: a sweep is exact only for answers of one image each.

Rows of a sweep's batch are images times lesions, in other companies than the user's own loop would put them. So a
network must answer the same every time, and for each image the same whatever else is in the batch.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from facelesion.lesions import lesioned
from facelesion.lesions.locate import find
from facelesion.sweep import memory
from facelesion.sweep.arguments import Readout, device_of
from facelesion.sweep.errors import SweepError
from facelesion.sweep.facts import stacked
from facelesion.sweep.request import Request
from facelesion.sweep.untouched import notes, untouched

# How far two answers may lie apart and still be the same but for rounding, as a share of the largest number.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 3e-2, torch.bfloat16: 2e-1}
# How often a network that draws random numbers is asked again whether they matter.
AGAIN = 6


@dataclass(frozen=True)
class Trial:
    """What the healthy network answers to a few images.

    Attributes:
        images: two images that differ (or the whole first batch), as they were given, on the network's device.
        answer: the readout's tensor; the network's own output where no readout was asked for and it is no tensor.
        readout: from the network's output to that answer.
        counting: whether each forward leaves a count on the network.
    """

    images: Tensor
    answer: Any
    readout: Readout
    counting: bool = False


def tried(model: nn.Module, first: Tensor, readout: Readout, *, rows: bool = True) -> Trial:
    """Tries a network out.

    Args:
        model: the network, in the mode in which it will be swept.
        first: the first batch.
        readout: from its output to a tensor with one row per image.
        rows: whether each image's answer must be its own; False asks only that answers repeat.

    Raises:
        SweepError: it cannot take these images, answers at random, changes itself as it runs, or mixes the rows of
            a batch.
    """
    device = device_of(model)
    check_mode(model)
    _finished(model, first.to(device), rows)
    with untouched(model):
        return _tried(model, first, readout, device, rows)


def _tried(model: nn.Module, first: Tensor, readout: Readout, device: torch.device, rows: bool) -> Trial:
    pair = (two_images(first) if rows else first).to(device)
    generators = generators_at(device)
    answer = _first_answer(model, first, pair, readout, device, rows)
    state = _state(model)
    others = [pair[:1], pair[1:]] if rows else [pair]
    problem: Exception | None = None
    found: list[Any] = []
    try:
        found = [answer_of(model, stacked(other, 1), readout) for other in others]
    except Exception as refused:
        if memory.out_of_memory(refused):
            raise
        problem = refused
    changed = _changed(model, state)
    if changed:
        _check_counts(model, changed, pair, answer, readout)
    if generators_at(device) != generators:
        _check_draws(model, pair, answer, readout)
    if problem is None and not rows:
        same = agree(answer, found[0])
    else:
        same = problem is None and _each_alone(answer, found)
    if not same:
        _check_repeats(model, pair, answer, readout)
        why = "an image is answered otherwise in other company"
        why = f"it takes no image alone ({_line(problem)})" if problem else why
        raise SweepError(f"{MIXED}: {why}; {MENDED}") from problem
    return Trial(pair, answer, readout, bool(changed))


def _each_alone(answer: Any, found: Sequence[Any]) -> bool:
    """Whether two images are answered together as each is alone: so neither company nor place in a batch counts."""
    return all(_same_image(answer, row, found[row]) for row in (0, 1))


MIXED = "the network (or the readout) mixes the rows of a batch"
MENDED = "use options=Options(trace=False), which runs it whole on your own batches"


def _finished(model: nn.Module, first: Tensor, rows: bool) -> None:
    """Runs a network once whose layers have no weights yet, as its first forward would."""
    if any(is_lazy(each) for module in model.modules() for each in _own_tensors(module)):
        _first_answer(
            model, first, two_images(first) if rows else first, lambda output: output, first.device, rows
        )


def _own_tensors(module: nn.Module) -> list[Tensor]:
    found = [*module._parameters.values(), *module._buffers.values()]
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def check_mode(model: nn.Module) -> None:
    """Refuses a network whose answers for one image hang on the others or on chance, where its mode shows it."""
    for path, module in model.named_modules():
        where = f"{path or 'the network'} ({type(module).__name__})"
        batch = isinstance(module, nn.modules.batchnorm._BatchNorm)
        drops = isinstance(module, nn.modules.dropout._DropoutNd) or (
            isinstance(module, nn.RNNBase) and module.dropout > 0
        )
        if module.training and (batch or drops):
            raise SweepError(f"{where} is in training mode, so no two runs agree: call model.eval() first")
        for tensor in _own_tensors(module):
            if tensor.is_meta and not is_lazy(tensor):
                raise SweepError(f"{where} has weights without numbers (device meta): load them first")


def check_embeddings(request: Request, image: Tensor) -> None:
    """Let the whole network say whether an embedding's rows are images, for lesions that draw by image number.

    A piece of the network is given positions and images alike; where there are as many of both they look the same,
    which cannot be so for two images and for three.

    Args:
        request: what is swept.
        image: one, as a batch.

    Raises:
        LesionError: they are not; the message names the site.
    """
    model = request.model
    embeddings = {name for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    if not embeddings:
        return
    for part in request.parts:
        if part.draws_values and any(site.path in embeddings for site in find(model, part.site)):
            for count in (2, 3):
                with untouched(model), torch.no_grad(), lesioned(model, part, calibration=request.calibration):
                    model(torch.cat([image.to(request.device)] * count))


def answer_of(model: nn.Module, batch: Tensor, readout: Readout) -> Any:
    """The readout of one forward, without gradients. The batch is copied: a first step may write into it."""
    with torch.no_grad():
        answer = readout(model(batch.clone()))
    if isinstance(answer, Tensor):
        check_rows(answer, len(batch))
    return answer


def two_images(first: Tensor) -> Tensor:
    """Two images that differ, laid out in memory as the batch is: the first, and the next one or the first shuffled.

    Example:
        >>> two_images(torch.zeros(1, 2)).tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    pair = stacked(first[:1], 2)
    if len(first) > 1 and not torch.equal(first[1], first[0]):
        pair[1] = first[1]
        return pair
    # Shuffled, its numbers stay such as the network knows.
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(first[0].numel(), generator=generator)
    pair[1] = first[0].flatten()[order.to(first.device)].view(first.shape[1:])
    if torch.equal(pair[0], pair[1]) and first.is_floating_point():
        pair[1] += torch.linspace(0, 1, first[0].numel(), device=first.device).view(first.shape[1:])
    return pair


def agree(one: Any, other: Any) -> bool:
    """Whether two answers are the same but for rounding.

    Example:
        >>> agree(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001])), agree(torch.ones(2), torch.zeros(2))
        (True, False)
    """
    first, second = list(tensors(one)), list(tensors(other))
    return len(first) == len(second) and all(map(_close, first, second))


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.numel() or torch.equal(one, other):
        return True
    if not (one.is_floating_point() or one.is_complex()):
        # A rank or a vote may fall to the other side by rounding; most do not.
        return int((one != other).sum()) <= one.numel() // 10
    a, b = ((torch.view_as_real(t) if t.is_complex() else t).double() for t in (one, other))
    real = torch.float64 if one.dtype == torch.complex128 else torch.float32
    share = TOLERANCE.get(real if one.is_complex() else one.dtype, 2e-1)
    scale = float(torch.nan_to_num(a, nan=0.0, posinf=0.0, neginf=0.0).abs().max())
    return bool(torch.isclose(b, a, rtol=0, atol=share * scale + 1e-12, equal_nan=True).all())


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of an output, whatever holds them."""
    if isinstance(value, Tensor):
        yield value
        return
    parts: Iterable[Any] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    elif hasattr(value, "__dataclass_fields__"):
        parts = vars(value).values()
    for part in parts:
        yield from tensors(part)


def check_rows(answer: Tensor, images: int) -> None:
    """Refuses an answer that has not one row per image."""
    if not answer.ndim or len(answer) != images:
        raise SweepError(
            f"{images} image{'s' * (images > 1)} gave an answer of shape {tuple(answer.shape)}: a network must answer "
            "with one row per image; say by readout= how to get one, or, if it mixes the rows of a batch, "
            f"{MENDED}"
        )


def _same_image(answer: Any, row: int, other: Any) -> bool:
    """Whether two answers say the same of one image; what has no row per image is left out."""
    if isinstance(answer, Tensor):
        return agree(answer[row], other[0])
    first, second = list(tensors(answer)), list(tensors(other))
    # Two images in `answer`, one in `other`.
    pairs = [(a, b) for a, b in zip(first, second, strict=False) if a.ndim and b.ndim]
    known = [(a, b) for a, b in pairs if len(a) == 2 and len(b) == 1]
    return len(first) == len(second) and all(agree(a[row], b[0]) for a, b in known)


def _first_answer(
    model: nn.Module, first: Tensor, pair: Tensor, readout: Readout, device: torch.device, rows: bool
) -> Any:
    try:
        with torch.no_grad():
            output = model(pair.clone())
    except Exception as problem:
        if memory.out_of_memory(problem):
            raise
        if rows and len(first) > 2:
            try:
                answer_of(model, first.to(device), readout)
            except Exception:
                pass
            else:
                raise SweepError(
                    f"{MIXED}, and takes no two images alone ({_line(problem)}): {MENDED}"
                ) from problem
        raise SweepError(
            f"batches: {type(model).__name__} does not take images {tuple(first.shape[1:])} of {first.dtype}: "
            f"{_line(problem)}"
        ) from problem
    try:
        with torch.no_grad():
            answer = readout(output)
    except SweepError:
        raise
    except Exception as problem:
        raise SweepError(
            f"readout: it does not take what the network answers, {_told(output)}: {problem!r}"
        ) from problem
    if isinstance(answer, Tensor):
        check_rows(answer, len(pair))
    return answer


def _told(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    keys = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
    return f"a {type(output).__name__}{keys}"


def _check_repeats(model: nn.Module, images: Tensor, answer: Any, readout: Readout, times: int = 1) -> None:
    if all(agree(answer, answer_of(model, images, readout)) for _ in range(times)):
        return
    training = [path or "the network" for path, module in model.named_modules() if module.training]
    told = f" ({', '.join(training[:3])} in training mode)" if training else ""
    raise SweepError(
        f"the network answers the same images otherwise each time{told}, so no sweep can be exact: "
        "call model.eval(), or take out what draws random numbers"
    )


def _check_draws(model: nn.Module, images: Tensor, answer: Any, readout: Readout) -> None:
    """The network draws random numbers: it may do without them, but then it must show it."""
    training = [path or "the network" for path, module in model.named_modules() if module.training]
    if training:
        raise SweepError(
            f"the network draws random numbers in training mode ({', '.join(training[:3])}), so no two runs agree: "
            "call model.eval() first"
        )
    _check_repeats(model, images, answer, readout, AGAIN)


def generators_at(device: torch.device) -> tuple[Any, ...]:
    """Where the random numbers stand that a forward could draw from."""
    import numpy

    found: list[Any] = [torch.get_rng_state().numpy().tobytes(), random.getstate()]
    _, keys, *rest = numpy.random.get_state()
    found += [numpy.asarray(keys).tobytes(), *rest[:1]]
    if device.type == "cuda":
        found.append(torch.cuda.get_rng_state(device).numpy().tobytes())
    return tuple(found)


def _state(model: nn.Module) -> dict[str, Any]:
    """What a forward might change and read again: buffers, parameters, and numbers noted on modules."""
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if isinstance(buffer, Tensor):
                found[f"{path}.{name}"] = buffer.detach().clone()
        for name, parameter in module._parameters.items():
            if isinstance(parameter, Tensor) and not parameter.is_inference():
                found[f"{path}.{name}"] = parameter._version
        for name, value in notes(module).items():
            if (numbers := _numbers(value)) is not None:
                found[f"{path}.{name}"] = numbers
    return found


def _numbers(value: Any) -> float | tuple[float, ...] | None:
    """A number, or a few numbers in a list or dictionary, as they stand now; None for everything else."""
    if isinstance(value, int | float):
        return float(value)
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(parts, list | tuple | type({}.values())) and all(
        isinstance(each, int | float) for each in parts
    ):
        return tuple(map(float, parts))
    return None


def _changed(model: nn.Module, before: Mapping[str, Any]) -> list[str]:
    """What a network changed of itself since `_state` was asked."""
    return [name for name, value in _state(model).items() if not _as_before(before.get(name), value)]


def _as_before(known: Any, value: Any) -> bool:
    if isinstance(value, tuple) and isinstance(known, tuple):
        # A list that grows is a record of what ran, and nothing is counted by it.
        return len(value) != len(known) or agree(torch.tensor(known), torch.tensor(value))
    if isinstance(value, float) and isinstance(known, float):
        return agree(torch.tensor(known), torch.tensor(value))
    if isinstance(value, Tensor):
        return isinstance(known, Tensor) and agree(known, value)
    return bool(known == value)


# Counts at which a network might begin to do otherwise.
_COUNTS = (0, 1, 2, 3, 4, 7, 9, 10, 99, 100, 1000, 1024, 10**6)


def _check_counts(
    model: nn.Module, names: Sequence[str], images: Tensor, answer: Any, readout: Readout
) -> None:
    """Refuses a network that changes itself, unless it only counts and its answer takes no notice of the count."""
    for name in names:
        path, _, own = name.rpartition(".")
        module = model.get_submodule(path)
        known = module._buffers.get(own, vars(module).get(own))
        number = isinstance(known, int) or (isinstance(known, Tensor) and known.numel() == 1)
        for count in _COUNTS if number and own not in module._parameters else ():
            if isinstance(known, Tensor):
                module._buffers[own] = torch.full_like(known, count)
            else:
                vars(module)[own] = bool(count) if isinstance(known, bool) else count
            if not agree(answer, answer_of(model, images, readout)):
                break
        else:
            if number and own not in module._parameters:
                continue
        raise SweepError(
            f"a forward changes the network's own {name.lstrip('.')!r}, so that an answer hangs on what ran "
            "before: call model.eval(), or keep such counts outside of the network"
        )


def _line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [repr(problem)])[0]
