"""Which places of a network have a map to look at, in the order in which they run, and how coarse each map is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from facelesion.analysis.gradcam import sites_called
from facelesion.errors import Error
from facelesion.lesions import LesionError, aliases
from facelesion.lesions.locate import Site, pick, unit_axis, unwrap

Stage = Literal["early", "middle", "late"]
STAGES: tuple[Stage, ...] = ("early", "middle", "late")
_FINE = 4  # an early map is at least as fine as a quarter of the picture's side
_WILD = ("*", "?", "re:")


@dataclass(frozen=True)
class MapSite:
    """A place whose output is a map.

    Attributes:
        name: its alias where it has one, else its path; as `grad_cam` and lesions take it.
        height, width: of the map.
        stage: `early` where the map is at least a quarter as fine as the picture, `late` where it is as coarse as the
            coarsest, `middle` between them. Of VGG16's that is as the notebook has them: conv1 to conv3, conv4, conv5.
    """

    name: str
    height: int
    width: int
    stage: Stage


def map_sites(
    module: nn.Module, image: torch.Tensor, patterns: Sequence[str] | None = None
) -> tuple[MapSite, ...]:
    """The places with a map, in the order in which they run.

    Args:
        module: a network (N, 3, H, W) -> representation (N, D).
        image: float (1, 3, H, W), preprocessed; what is in it does not matter.
        patterns: names or patterns of sites. When left out: the network's own names (aliases) but for its pools, else
            its activations, else its convolutions.

    Raises:
        Error: a site that there is not, has no map, or never runs; of a pattern, all of them.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8), nn.Flatten())
        >>> map_sites(network, torch.zeros(1, 3, 16, 16))
        (MapSite(name='1', height=16, width=16, stage='late'),)
    """
    module = unwrap(module)
    names = {path: alias for alias, path in reversed(aliases(module).items())}
    wanted = _usual(module, names) if patterns is None else _asked(module, names, patterns)
    ran = _ran(module, image, wanted)
    if patterns is None:
        ran = {name: size for name, size in ran.items() if isinstance(size, tuple)}
        if not ran:
            raise Error("the network has no place whose output is a map (N, C, h, w): none can be shown")
    found: dict[str, tuple[int, int]] = {}
    for pattern in patterns or [""]:
        here = ran if patterns is None else {name: ran.get(name) for name in _asked(module, names, [pattern])}
        seen = {name: size for name, size in here.items() if isinstance(size, tuple)}
        if not seen or (len(seen) < len(here) and not pattern.startswith("re:") and not set(pattern) & set("*?,")):
            name, why = next((name, size) for name, size in here.items() if not isinstance(size, tuple))
            raise Error(why or f"{name} never runs in this network: no map can be shown of it")
        found |= seen
    coarsest = min(height * width for height, width in found.values())
    side = image.shape[-2] * image.shape[-1]
    return tuple(
        MapSite(name, *found[name], _stage(found[name], coarsest, side)) for name in ran if name in found
    )


def stages_of(sites: Sequence[MapSite]) -> dict[Stage, MapSite]:
    """One site for each stage that there is: the last that runs.

    Example:
        >>> sites = [MapSite("conv1", 32, 32, "early"), MapSite("conv2", 4, 4, "late"), MapSite("conv3", 4, 4, "late")]
        >>> [site.name for site in stages_of(sites).values()]
        ['conv1', 'conv3']
    """
    last = {site.stage: site for site in sites}
    return {stage: last[stage] for stage in STAGES if stage in last}


def _stage(size: tuple[int, int], coarsest: int, picture: int) -> Stage:
    area = size[0] * size[1]
    if area <= coarsest:
        return "late"
    return "early" if area * _FINE**2 >= picture else "middle"


def _usual(module: nn.Module, names: Mapping[str, str]) -> dict[str, Site]:
    """The sites that are shown where none are asked for, with and without a map."""
    own = {name: path for path, name in names.items() if not name.startswith("pool")}
    if not own:
        layers = dict(module.named_modules())
        kinds: tuple[Callable[[nn.Module], bool], ...] = (
            lambda layer: type(layer).__module__ == "torch.nn.modules.activation",
            lambda layer: isinstance(layer, nn.Conv2d),
        )
        for kind in kinds:
            own = own or {path: path for path, layer in layers.items() if path and kind(layer)}
    return {name: Site(path) for name, path in own.items()}


def _asked(module: nn.Module, names: Mapping[str, str], patterns: Sequence[str]) -> dict[str, Site]:
    found: dict[str, Site] = {}
    for pattern in patterns:
        for written, site in sites_called(module, [pattern]).items():
            plain = site == Site(site.path)
            wild = any(sign in pattern for sign in _WILD) or "," in pattern
            found[names.get(site.path, site.path) if plain and wild else written] = site
    return found


def _ran(module: nn.Module, image: torch.Tensor, wanted: Mapping[str, Site]) -> dict[str, tuple[int, int] | str]:
    """Of every site that ran, in that order, its map's size, or why it has none."""
    ran: dict[str, tuple[int, int] | str] = {}
    calls = dict.fromkeys(wanted, 0)

    def noter(name: str, site: Site) -> Callable[[nn.Module, object, object], None]:
        def note(layer: nn.Module, _inputs: object, output: object) -> None:
            calls[name] += 1
            if site.call is not None and calls[name] != site.call + 1:
                return
            ran.pop(name, None)
            ran[name] = _size(layer, output, site, len(image))

        return note

    handles = [
        module.get_submodule(site.path).register_forward_hook(noter(name, site)) for name, site in wanted.items()
    ]
    try:
        with torch.no_grad():
            module(image)
    finally:
        for handle in handles:
            handle.remove()
    return ran


def _size(layer: nn.Module, output: object, site: Site, images: int) -> tuple[int, int] | str:
    try:
        y, _ = pick(output, site.output, site)
        axis = unit_axis(layer, y, site) if y.ndim == 4 and not site.heads else 0
    except LesionError as error:
        return str(error)
    if axis == 0 or len(y) != images:
        return f"{site} has no map to show: its output must be one tensor (N, C, h, w), not {tuple(y.shape)}"
    height, width = (size for place, size in enumerate(y.shape) if place not in (0, axis))
    if height * width == 1:
        return f"{site} has no map to show: its output is one place, which stands for the whole picture"
    return height, width
