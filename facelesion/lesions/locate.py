"""Where a lesion sits: from patterns to modules, from a module's output to the tensor and the axis of its units.

A pattern is one or more names, with commas between:

    features.22            a module path              conv4_3        an alias
    conv5_*                `*` and `?` within one name; `**` crosses dots
    re:features\\.(21|23)   a regular expression for the whole name; it stands alone
    .                      the network itself

and each may say more precisely what it means:

    relu[2]                the third call of a module that is called more than once (all calls by default)
    lstm->1.0              which output, of a tuple or dict (the first tensor by default)
    mlp.1@-1               which axis holds the units
    attention.heads        the heads of an `nn.MultiheadAttention` as units, before they are mixed
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .errors import LesionError, NoSuchSite
from .kinds import Lesion
from .values import told

_PATTERN = re.compile(
    r"^(?P<name>.+?)(\[(?P<call>\d{1,9})\])?(->(?P<output>[\w.]+))?(@(?P<axis>-?\d{1,9}))?$"
)
_REGEX = re.compile(r"^re:(?P<name>.+?)(->(?P<output>[\w.]+))?(@(?P<axis>-?\d{1,9}))?$")
_HEADS = ".heads"


@dataclass(frozen=True)
class Site:
    """One found place: the module's own path, and which call, output and axis of it."""

    path: str
    call: int | None = None
    output: tuple[str, ...] = ()
    axis: int | None = None
    heads: bool = False

    def __str__(self) -> str:
        call = "" if self.call is None else f"[{self.call}]"
        output = "->" + ".".join(self.output) if self.output else ""
        return self.path + (_HEADS if self.heads else "") + call + output


def unwrap(model: nn.Module) -> nn.Module:
    """The network itself, out of (Distributed)DataParallel and `torch.compile`: its own names are used."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(model, torch.jit.ScriptModule):
            return model
        elif isinstance(inner := model.__dict__.get("_modules", {}).get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def aliases(model: nn.Module) -> dict[str, str]:
    """Names from the literature to module paths.

    They come from a `site_aliases` attribute (of the network or of a part of it), and from any VGG-like `features`:
    there `conv4_3` is the third convolution of the fourth block, after its activation, and `pool4` closes the block.

    Example:
        >>> from torchvision.models import vgg16
        >>> aliases(vgg16())["conv4_3"]
        'features.22'
    """
    found: dict[str, str] = {}
    for path, module in unwrap(model).named_modules():
        prefix = f"{path}." if path else ""
        own = getattr(module, "site_aliases", None)
        if not isinstance(own, Mapping):
            own = _vgg_aliases(getattr(module, "features", None))
        found.update({prefix + alias: prefix + target for alias, target in own.items()})
    return found


def _vgg_aliases(features: object) -> dict[str, str]:
    if not isinstance(features, nn.Sequential):
        return {}
    layers = list(features.named_children())
    kinds = {type(layer) for _, layer in layers}
    if not {nn.Conv2d, nn.ReLU, nn.MaxPool2d} <= kinds <= {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d}:
        return {}
    found: dict[str, str] = {}
    block, number = 1, 0
    for name, layer in layers:
        if isinstance(layer, nn.Conv2d):
            number += 1
        elif isinstance(layer, nn.ReLU):
            found[f"conv{block}_{number}"] = f"features.{name}"
        elif isinstance(layer, nn.MaxPool2d):
            found[f"pool{block}"] = f"features.{name}"
            block, number = block + 1, 0
    return found


def _names(model: nn.Module) -> dict[str, str]:
    """Every name a pattern can match, to the name it stands for; one module has one such name."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if path:
            names[path] = first.setdefault(id(module), path)
            if isinstance(module, nn.MultiheadAttention):
                names[path + _HEADS] = first[id(module)] + _HEADS
    for alias, path in aliases(model).items():
        # A part of a network (a cut graph) keeps the aliases of the whole.
        if path in names:
            names.setdefault(alias, names[path])
    return names


def sites(model: nn.Module, pattern: str = "**") -> tuple[str, ...]:
    """The module paths a pattern stands for; all of them when no pattern is given.

    Raises:
        NoSuchSite: nothing matches; the message has the nearest names.

    Example:
        >>> from torchvision.models import vgg16
        >>> sites(vgg16(), "conv5_*")
        ('features.25', 'features.27', 'features.29')
    """
    return tuple(str(site) for site in find(model, pattern))


def find(model: nn.Module, pattern: str) -> tuple[Site, ...]:
    """The sites a pattern stands for, in the network's order for each name in it, none twice."""
    if not isinstance(model, nn.Module):
        raise LesionError(f"model must be a torch.nn.Module, not a {type(model).__name__}")
    if not isinstance(pattern, str):
        raise LesionError(f"a site is a text: a module path, an alias or a pattern; got {told(pattern)}")
    model = unwrap(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise LesionError(f"this {type(model).__name__} is a TorchScript module: lesion the model it was made from")
    names = _names(model)
    found: dict[Site, None] = {}
    for one in [pattern] if pattern.startswith("re:") else pattern.split(","):
        found.update(dict.fromkeys(_find_one(model, names, one.strip())))
    return tuple(found)


def find_all(model: nn.Module, wanted: str | Lesion | Iterable[str | Lesion]) -> tuple[Site, ...]:
    """The sites of some patterns and lesions together."""
    if not isinstance(wanted, Iterable | Lesion):
        raise LesionError(f"sites are patterns or lesions, as text or in a list; got {told(wanted)}")
    each = [wanted] if isinstance(wanted, str | Lesion) else list(wanted)
    for one in each:
        if not isinstance(one, str | Lesion):
            raise LesionError(f"sites are patterns or lesions; got {told(one)} in the list")
    patterns = [
        p for one in each for p in ([one] if isinstance(one, str) else [part.site for part in one.parts])
    ]
    return tuple(dict.fromkeys(site for pattern in patterns for site in find(model, pattern)))


def _find_one(model: nn.Module, names: dict[str, str], pattern: str) -> list[Site]:
    is_regex = pattern.startswith("re:")
    parsed = (_REGEX if is_regex else _PATTERN).match(pattern)
    if parsed is None:
        raise NoSuchSite(f"{told(pattern)} is no site: give a module path, an alias, a pattern or re:...")
    said = parsed.groupdict()
    name, call, output, axis = (said.get(part) for part in ("name", "call", "output", "axis"))
    assert name is not None
    if name == ".":
        paths = [""]
    elif is_regex or "*" in name or "?" in name:
        try:
            expression = re.compile(name if is_regex else _glob(name))
        except (re.error, RecursionError, OverflowError) as error:
            raise NoSuchSite(f"{told(pattern)} is not a regular expression: {error}") from error
        paths = [path for known, path in names.items() if expression.fullmatch(known)]
    else:
        paths = [names[name]] if name in names else []
    if not paths:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) if len(name) < 200 else []
        hint = f"nearest are {', '.join(near)}" if near else "facelesion.lesions.sites(model) lists all"
        raise NoSuchSite(f"no site {told(pattern)} in {type(model).__name__}: {hint}")
    return [
        Site(
            path=path.removesuffix(_HEADS) if _is_heads(model, path) else path,
            call=None if call is None else int(call),
            output=tuple(output.split(".")) if output else (),
            axis=None if axis is None else int(axis),
            heads=_is_heads(model, path),
        )
        for path in dict.fromkeys(paths)
    ]


def _is_heads(model: nn.Module, path: str) -> bool:
    # ViT calls its classifier `heads`: what counts is whose child the name is.
    return path.endswith(_HEADS) and isinstance(
        model.get_submodule(path.removesuffix(_HEADS)), nn.MultiheadAttention
    )


def _glob(pattern: str) -> str:
    pieces = re.split(r"(\*\*|\*|\?)", pattern)
    wild = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    return "".join(wild.get(piece) or re.escape(piece) for piece in pieces)


def weight_of(module: nn.Module) -> Any:
    """Its weight, only looked at: where reading it changes buffers (a power iteration), they are put back."""
    if not isinstance(getattr(type(module), "weight", None), property):
        return getattr(module, "weight", None)
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.no_grad():
        weight = getattr(module, "weight", None)
        for buffer, before in buffers:
            buffer.copy_(before)
    return weight


def has_weights(module: nn.Module) -> bool:
    """Whether it has one weight with an axis of inputs: convolutions, linear layers, embeddings."""
    weight = weight_of(module)
    if isinstance(weight, nn.parameter.UninitializedParameter):
        return True
    return isinstance(weight, Tensor) and weight.ndim >= 2


def incoming(model: nn.Module, path: str) -> str:
    """The module whose weights lead into a site: itself, or the nearest one before it in its `nn.Sequential`."""
    model = unwrap(model)
    if has_weights(model.get_submodule(path)):
        return path
    parent, _, name = path.rpartition(".")
    siblings = [each for each, _ in model.get_submodule(parent).named_children()]
    if all(each.isdigit() for each in siblings):
        before = sorted((each for each in siblings if int(each) < int(name)), key=int, reverse=True)
        for each in before:
            candidate = f"{parent}.{each}" if parent else each
            if has_weights(model.get_submodule(candidate)):
                return candidate
    raise LesionError(
        f"Prune: {path!r} has no incoming weights of its own: name the convolution or linear layer"
    )


def unit_axis(module: nn.Module, y: Tensor, site: Site) -> int:
    """Which axis of this module's output holds the units.

    Convolutions, their norms and pools: axis 1. Linear and embedding layers, attention, recurrent layers: the last.
    Layer norms: the one they norm over. What has no kind of its own goes by its shape: axis 1 of a map with
    four or more axes, the last axis of tokens (N, T, D) and vectors (N, D).

    Raises:
        LesionError: the output has no such axis, or a norm does not show which one it is.
    """
    if y.ndim < 2:
        raise LesionError(f"{site}: an output of shape {tuple(y.shape)} has no axis of units")
    if site.axis is not None:
        if not -y.ndim <= site.axis < y.ndim:
            raise LesionError(f"{site}: no axis {site.axis} in an output of shape {tuple(y.shape)}")
        return site.axis % y.ndim
    if isinstance(module, nn.Linear | nn.Embedding | nn.MultiheadAttention | nn.RNNBase | nn.Bilinear):
        return y.ndim - 1
    if isinstance(module, _ALONG_ONE) or (isinstance(module, nn.PReLU) and module.num_parameters > 1):
        return 1
    kind = type(module).__name__
    if found := re.search(r"(Conv|BatchNorm|InstanceNorm|Pool|Dropout)\w*([123])d", kind):
        if y.ndim == int(found[2]) + 1 and found[1] in ("Conv", "Pool", "InstanceNorm"):
            raise LesionError(
                f"{site}: an output of shape {tuple(y.shape)} has no axis of images: give batches (N, ...)"
            )
        return 1
    if "Norm" in kind and (axis := _normed_axis(module, y, site)) is not None:
        return axis
    return 1 if y.ndim >= 4 else y.ndim - 1


_ALONG_ONE = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LocalResponseNorm)
# Norms over the last axes, as they are in PyTorch.
_LAST = tuple(
    kind.forward for kind in (nn.LayerNorm, getattr(nn, "RMSNorm", nn.LayerNorm))
)  # fmt: skip


def _normed_axis(module: nn.Module, y: Tensor, site: Site) -> int | None:
    """The axis that a norm was made for: told by its size, and where two axes have it, by what it refuses."""
    made_for = getattr(module, "normalized_shape", None)
    if made_for is None:
        made_for = [len(each) for each in module.parameters(recurse=False) if each.ndim == 1][:1]
    sizes = list(made_for) if isinstance(made_for, list | tuple | torch.Size) else [made_for]
    if type(module).forward in _LAST:
        return y.ndim - 1 if len(sizes) == 1 else None
    fits = [axis for axis in range(1, y.ndim) if sizes and y.shape[axis] == sizes[0]]
    if len(sizes) != 1 or len(fits) < 2:
        return fits[0] if len(sizes) == 1 and fits else None
    # It must take another size along every axis but the one it norms.
    like = next((each for each in (*module.parameters(), *module.buffers()) if each.is_floating_point()), y)
    second = copy.deepcopy(module).eval()
    second._forward_hooks.clear()
    second._forward_pre_hooks.clear()
    taken = []
    for axis in fits:
        shape = [2 if place not in fits else sizes[0] for place in range(y.ndim)]
        shape[axis] += 1
        try:
            with torch.no_grad():
                second(torch.zeros(shape, dtype=like.dtype, device=like.device))
        except (RuntimeError, ValueError, AssertionError, IndexError):
            continue
        taken.append(axis)
    held = [axis for axis in fits if axis not in taken]
    if len(held) != 1:
        raise LesionError(
            f"{site}: axes {fits} of its output {tuple(y.shape)} have the {sizes[0]} places it norms: say which holds "
            f"the units, as in {site}@{fits[0]}"
        )
    return held[0]


def pick(output: Any, keys: tuple[str, ...], site: Site) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """A tensor out of a module's output, and how to put another in its place (in a copy)."""
    if isinstance(output, Tensor):
        if keys:
            raise LesionError(f"{site}: there is no output {keys[0]!r} in a plain tensor")
        if not output.is_floating_point():
            raise LesionError(f"{site}: only floating point outputs can be damaged, this is {output.dtype}")
        return output, lambda new: new
    if isinstance(output, PackedSequence):
        raise LesionError(f"{site}: packed sequences mix images in a row; pad them instead")
    inside: dict[str, Any] = {}
    if isinstance(output, Mapping):
        inside = {str(key): key for key in output}
    elif _is_record(output):
        inside = {each.name: each.name for each in dataclasses.fields(output)}
    elif isinstance(output, list | tuple):
        inside = {str(place): place for place in range(len(output))}
    tensors = [
        name
        for name, key in inside.items()
        if keys[:1] == (name,) or (not keys and _has_tensor(_part(output, key)))
    ]
    if tensors:
        key = inside[tensors[0]]
        tensor, rebuild = pick(_part(output, key), keys[1:], site)
        return tensor, lambda new: _replaced(output, key, rebuild(new))
    has = ", ".join(inside) or type(output).__name__
    raise LesionError(f"{site}: no tensor {'.'.join(keys) or 'anywhere'} in its output, which has {has}")


def _is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type | Mapping)


def _part(value: Any, key: Any) -> Any:
    return getattr(value, key) if _is_record(value) else value[key]


def _has_tensor(value: Any) -> bool:
    if _is_record(value):
        value = [getattr(value, each.name) for each in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return any(map(_has_tensor, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_tensor, value))
    return isinstance(value, Tensor)


def _replaced(output: Any, key: Any, new: Any) -> Any:
    if isinstance(output, tuple):
        values = [new if place == key else value for place, value in enumerate(output)]
        return type(output)(*values) if hasattr(output, "_fields") else tuple(values)
    changed = copy.copy(output)
    if _is_record(output):
        object.__setattr__(changed, key, new)  # which a frozen one allows as well
    else:
        changed[key] = new
    return changed
