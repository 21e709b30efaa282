"""How much faster a sweep is than the ways there were: every engine side by side, in one run, on one machine.

    python benchmarks/sweep.py                 # all workloads at a size that takes minutes
    python benchmarks/sweep.py W1 --images 4   # one of them
    pip install nnsight pyvene torchlens       # peers to be measured too; what is not installed is named

W1  every one of the 512 units of conv5_1, conv5_2, conv5_3, conv4_3 of VGG16 at 224 px
W2  13 sites x 4 fractions x 4 draws
W3  a study: ablation, noise, dropout and both, five pictures of every face, three doses
W4  every one of VGG16's 4,224 convolution units
W5  ResNet-50 and ViT-B/16: 128 units of a late site

A loop costs the same per lesion, so loops run a fixed number of lesions (`--trials`, peers half as many) and are scaled
by count; a peer's answer is held to the plain hook's first. A sweep runs in full. Beside each ratio stands the
ceiling: the loop's time over the time that the multiply-adds that must be done take at the rate of this machine's best
convolution (512 to 512 channels, 3x3, 14x14, 64 rows, channels last). The sweep computes large convolutions by fewer
products than that, so it may pass the ceiling.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import nn

from facelesion.lesions import (
    Ablate,
    Calibration,
    Dropout,
    Lesion,
    Noise,
    aliases,
    calibrate,
    functional,
    lesion_sites,
    lesioned,
    philox,
)
from facelesion.models.vgg import vgg_face
from facelesion.sweep import Options, make_plan, stream, stream_units

BLOCKS = ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512))
CONVOLUTIONS = [f"conv{block}_{n}" for block, many, _ in BLOCKS for n in range(1, many + 1)]
CHANNELS = [channels for _, many, channels in BLOCKS for _ in range(many)]


# What measures time; `--processor` takes the processor's seconds, which other work on the machine disturbs least.
CLOCK = [time.perf_counter]


def timed(run: Callable[[], object], repeats: int = 1) -> float:
    """The best of some runs, in seconds."""
    best = float("inf")
    for _ in range(repeats):
        synchronise()
        begun = CLOCK[0]()
        run()
        synchronise()
        best = min(best, CLOCK[0]() - begun)
    return best


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Cut:
    """Units of a site that are set to zero: what every engine here can express."""

    path: str
    units: list[int]
    axis: int = 1

    def zero(self, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output.index_fill_(self.axis, torch.tensor(self.units, device=output.device), 0)
        return output


Engine = Callable[[nn.Module, torch.Tensor, list[Cut]], list[torch.Tensor]]


def plain_hooks(model: nn.Module, images: torch.Tensor, cuts: list[Cut]) -> list[torch.Tensor]:
    """A hook as anyone would write it, and a forward, for each."""
    answers = []
    for cut in cuts:
        handle = model.get_submodule(cut.path).register_forward_hook(lambda m, i, o, cut=cut: cut.zero(o))
        answers.append(model(images))
        handle.remove()
    return answers


def captum(model: nn.Module, images: torch.Tensor, cuts: list[Cut]) -> list[torch.Tensor]:
    """LayerFeatureAblation: a group of features for each unit; the units that nobody asked for share the last group."""
    from captum.attr import LayerFeatureAblation

    module = model.get_submodule(cuts[0].path)
    shape: list[torch.Size] = []
    handle = module.register_forward_hook(lambda m, i, o: shape.append(o.shape))
    model(images[:1])
    handle.remove()
    groups = torch.full((1, *shape[0][1:]), len(cuts), device=images.device)
    for place, cut in enumerate(cuts):
        groups.index_fill_(cut.axis, torch.tensor(cut.units, device=images.device), place)
    ablation = LayerFeatureAblation(lambda batch: model(batch)[:, 0], module)
    found = ablation.attribute(images, layer_mask=groups)
    healthy = model(images)[:, 0]
    # An attribution is the healthy answer less the damaged one, at each place of the group.
    return [(healthy - found.select(cut.axis, cut.units[0]).flatten(1)[:, 0])[:, None] for cut in cuts]


def nnsight(model: nn.Module, images: torch.Tensor, cuts: list[Cut]) -> list[torch.Tensor]:
    from nnsight import NNsight

    wrapped, answers = NNsight(model), []
    for cut in cuts:
        place = (slice(None),) * cut.axis + (cut.units,)
        with wrapped.trace(images):
            site = wrapped
            for name in cut.path.split("."):
                site = site[int(name)] if name.isdigit() else getattr(site, name)
            site.output[place] = 0
            answer = wrapped.output.save()
        answers.append(answer)
    return answers


def pyvene(model: nn.Module, images: torch.Tensor, cuts: list[Cut]) -> list[torch.Tensor]:
    """It asks every network for a language model's configuration: a stand-in is lent to it."""
    import inspect
    import types

    import pyvene as pv

    name = list(inspect.signature(type(model).forward).parameters)[1]
    model.config = types.SimpleNamespace(hidden_size=1, to_dict=dict)  # type: ignore[assignment]
    answers = []
    for cut in cuts:
        component = re.sub(r"\.(\d+)", r"[\1]", cut.path) + ".output"
        wrapped = pv.IntervenableModel(
            [{"component": component, "intervention": lambda b, s=None, cut=cut, **_: cut.zero(b)}],
            model=model,
        )
        answers.append(wrapped(base={name: images})[1])
    del model.config
    return answers


def torchlens(model: nn.Module, images: torch.Tensor, cuts: list[Cut]) -> list[torch.Tensor]:
    """Its lane without a record of the run, which is its fastest; afterwards torch's own functions are put back."""
    import torchlens as tl
    from torchlens.backends.torch.wrappers import unwrap_torch

    answers = []
    for cut in cuts:
        bound = tl.when(tl.module(cut.path), lambda output, *, hook=None, cut=cut: cut.zero(output)).bind(
            model
        )
        answers.append(bound(images))
    unwrap_torch()
    return answers


PEERS: dict[str, Engine] = {
    "captum LayerFeatureAblation": captum, "nnsight": nnsight, "pyvene": pyvene, "torchlens": torchlens,
}  # fmt: skip


def rate(device: torch.device) -> float:
    """Multiply-adds a second of the convolution that most of the work is: 512 to 512 channels, 3x3, 14x14, 64 rows."""
    layer = nn.Conv2d(512, 512, 3, padding=1).to(device)
    batch = torch.randn(64, 512, 14, 14, device=device)
    if device.type == "cpu":
        batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        layer(batch)
        seconds = timed(lambda: layer(batch), 5)
    return 64 * 512 * 512 * 9 * 14 * 14 / seconds


class Report:
    """Lines of the table; every ratio is to the same workload's plain hooks."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.rate = device, rate(device)
        self.lines: list[dict[str, object]] = []
        self.loops: dict[str, float] = {}

    def add(
        self, workload: str, engine: str, lesions: int, images: int, seconds: float, done: int, work: int = 0
    ) -> None:
        """One line: `seconds` for all lesions, worked out from the `done` that ran; `work` in multiply-adds."""
        if engine == "plain hooks":
            self.loops[workload] = seconds
        ratio = self.loops[workload] / seconds
        ceiling = self.loops[workload] / (work / self.rate) if work else None
        self.lines.append(
            {
                "workload": workload, "engine": engine, "lesions": lesions, "images": images, "seconds": seconds,
                "lesions that ran": done, "lesion-images per second": lesions * images / seconds,
                "ratio": ratio, "ceiling": ceiling,
            }
        )  # fmt: skip
        scaled = "" if done == lesions else f"  ({done} ran)"
        best = f"  ceiling {ceiling:.1f}x, reached {ratio / ceiling:.0%}" if ceiling else ""
        print(f"{workload:16} {engine:28} {seconds:9.2f} s {ratio:7.1f}x{best}{scaled}", flush=True)


def loops(
    report: Report,
    workload: str,
    model: nn.Module,
    images: torch.Tensor,
    cuts: list[Cut],
    trials: int,
    peers: bool,
) -> None:
    """What costs the same for every lesion: plain hooks and the peers, by a fixed number of lesions."""
    spread = cuts[:: max(1, len(cuts) // trials)][:trials]
    expected = plain_hooks(model, images, spread[:1])[0]
    seconds = timed(lambda: plain_hooks(model, images, spread))
    report.add(
        workload, "plain hooks", len(cuts), len(images), seconds * len(cuts) / len(spread), len(spread)
    )
    for name, peer in PEERS.items() if peers else ():
        own = copy.deepcopy(model)  # nnsight leaves another `forward` on its network
        some = [cut for cut in spread if cut.path == spread[0].path][: max(4, trials // 2)]
        units = [unit for cut in some for unit in cut.units]
        if peer is captum and len(set(units)) < len(units):
            print(f"{workload:16} {name:28} cannot: its lesions of one call may not overlap")
            continue
        try:
            answer = peer(own, images, some[:1])[0]
            torch.testing.assert_close(answer, expected[:, : answer.shape[1]], rtol=1e-3, atol=1e-5)
            seconds = timed(functools.partial(peer, own, images, some))
        except Exception as problem:
            print(f"{workload:16} {name:28} not measured: {type(problem).__name__}: {str(problem)[:80]}")
            continue
        # Captum's one call also runs the healthy network, twice here, and the group of all other units.
        forwards = len(some) + (3 if peer is captum else 0)
        report.add(workload, name, len(cuts), len(images), seconds * len(cuts) / forwards, len(some))


def planned(
    report: Report, workload: str, model: nn.Module, images: torch.Tensor, lesions: dict[str, Lesion]
) -> None:
    """This project's sweep, in full."""
    options = Options(batch_size=len(images))
    plan = make_plan(model, lesions, images, options)

    def run() -> None:
        for _ in stream(model, lesions, images, options=options, calibration=CALIBRATION.get("here")):
            pass

    work = plan.multiply_adds * len(images)
    report.add(workload, "sweep", len(lesions), len(images), timed(run), len(lesions), work)


def every_unit(
    report: Report,
    workload: str,
    model: nn.Module,
    images: torch.Tensor,
    units: dict[str, range],
    ahead: bool,
) -> None:
    """This project's unit sweep, in full; the work is counted by hand."""
    options = Options(batch_size=len(images))
    count = sum(map(len, units.values()))

    def run() -> None:
        for _ in stream_units(model, list(units), images, units=units, options=options, ahead=ahead):
            pass

    work = 0
    for path, of_site in units.items():
        plan = make_plan(model, {"all": Ablate(path)}, images[:1])
        begin = plan.walk.stops[0].position
        after = [cost for cost in plan.costs[begin:] if cost]
        # The step at `begin` is the site's own; with one layer ahead the next is done once for all units.
        work = max(work, sum(plan.costs))
        work += (after[0] + len(of_site) * sum(after[1:])) if ahead and after else len(of_site) * sum(after)
    name = "unit_sweep" if ahead else "unit_sweep, no layer ahead"
    report.add(workload, name, count, len(images), timed(run), count, work * len(images))


CALIBRATION: dict[str, Calibration] = {}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", default=["W1", "W2", "W3", "W4", "W5"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--trials", type=int, default=8, help="lesions that a loop runs before it is scaled")
    parser.add_argument("--sites", default="conv5_1,conv5_2,conv5_3,conv4_3", help="W1: which sites")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument(
        "--processor", action="store_true", help="one thread, and its own seconds, not the clock's on the wall"
    )
    given = parser.parse_args()
    if given.processor:
        CLOCK[0] = time.process_time
        torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    model = vgg_face().eval().to(device)
    images = torch.randn(given.images, 3, 224, 224, device=device)
    report = Report(device)
    print(f"{device}, {torch.get_num_threads()} threads, {report.rate / 1e9:.0f} G multiply-adds a second")
    model(images)
    peers = not given.no_peers
    names = aliases(model)
    counts = {names[site]: channels for site, channels in zip(CONVOLUTIONS, CHANNELS, strict=True)}
    if "W1" in given.workloads:
        for site in given.sites.split(","):
            path = names[site]
            cuts = [Cut(path, [unit]) for unit in range(counts[path])]
            loops(report, f"W1 {site}", model, images, cuts, given.trials, peers)
            for ahead in (False, True):
                every_unit(report, f"W1 {site}", model, images, {path: range(counts[path])}, ahead)
    if "W2" in given.workloads:
        lesions: dict[str, Lesion] = {
            f"{site} {fraction} {draw}": Ablate(site, fraction=fraction, seed=draw)
            for site in CONVOLUTIONS
            for fraction in (0.05, 0.1, 0.2, 0.4)
            for draw in range(4)
        }
        cuts = [cut_of(model, lesion, counts) for lesion in lesions.values()]
        loops(report, "W2 grid", model, images, cuts, given.trials, peers)
        planned(report, "W2 grid", model, images, lesions)
    if "W3" in given.workloads:
        notebook(report, model, images)
    if "W4" in given.workloads:
        units = {path: range(count) for path, count in counts.items()}
        cuts = [Cut(path, [unit]) for path, count in counts.items() for unit in range(count)]
        loops(report, "W4 all units", model, images, cuts, given.trials, peers)
        every_unit(report, "W4 all units", model, images, units, True)
    if "W5" in given.workloads:
        for name, make, path, axis, count in (
            ("W5 ResNet-50", torchvision.models.resnet50, "layer4.0.conv1", 1, 512),
            ("W5 ViT-B/16", torchvision.models.vit_b_16, "encoder.layers.encoder_layer_9.mlp.1", 2, 3072),
        ):
            other = make().eval().to(device)
            if axis == 2:  # torchvision begins with a head of zeros, whose answers nothing can change
                nn.init.normal_(other.heads.head.weight, std=0.05)
            chosen = range(0, count, count // 128)
            loops(report, name, other, images, [Cut(path, [u], axis) for u in chosen], given.trials, peers)
            planned(report, name, other, images, {f"{u}": Ablate(path, units=[u]) for u in chosen})
            every_unit(report, name, other, images, {path: chosen}, True)
    if given.out:
        given.out.write_text(json.dumps(report.lines, indent=1))


def cut_of(model: nn.Module, lesion: Lesion, counts: dict[str, int]) -> Cut:
    """The units that an ablation of a fraction takes."""
    path = lesion_sites(model, lesion)[0]
    ablation = lesion.parts[0]
    assert isinstance(ablation, Ablate) and ablation.fraction is not None
    order = philox.ranks(counts[path], "units", ablation.seed, path).argsort()
    return Cut(path, order[: functional.how_many(ablation.fraction, counts[path])].tolist())


def notebook(report: Report, model: nn.Module, images: torch.Tensor) -> None:
    """W3: its four approaches, five pictures of every face, three doses. The loop is the lesion library itself."""
    study: dict[str, Lesion] = {}
    for dose in (0.2, 0.4, 0.8):
        study[f"ablation {dose}"] = Ablate("conv5_*", fraction=dose)
        study[f"noise {dose}"] = Noise("conv3_2", std=dose, relative=True)
        study[f"dropout {dose}"] = Dropout("conv4_3", p=dose)
        study[f"both {dose}"] = Noise("conv3_2", std=dose, relative=True) + Dropout("conv4_3", p=dose)
    CALIBRATION["here"] = calibrate(model, images, ["conv3_2"])
    for faces in sorted({1, len(images)}):
        name = f"W3 notebook, {faces} face{'s' * (faces > 1)}"
        pictures = torch.cat([images[:faces] * level for level in (1.0, 0.8, 0.6, 0.4, 0.2)])

        def loop(pictures: torch.Tensor = pictures) -> None:
            for lesion in study.values():
                with lesioned(model, lesion, calibration=CALIBRATION["here"]):
                    model(pictures)

        report.add(name, "plain hooks", len(study), len(pictures), timed(loop), len(study))
        planned(report, name, model, pictures, study)
    CALIBRATION.clear()


if __name__ == "__main__":
    main()
