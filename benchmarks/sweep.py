"""How much faster a sweep is than the ways there were: every engine side by side, in one run, on one machine.

    python benchmarks/sweep.py                 # all workloads at a size that takes minutes
    python benchmarks/sweep.py W1 --images 4   # one of them
    pip install nnsight pyvene torchlens       # peers to be measured too; what is not installed is left out

W1  every one of the 512 units of conv5_1, conv5_2, conv5_3, conv4_3 of VGG16 at 224 px
W2  13 sites x 4 fractions x 4 draws
W3  a study: ablation, noise, dropout and both, five pictures of every face, three doses
W4  every one of VGG16's 4,224 convolution units
W5  ResNet-50 and ViT-B/16: 64 units of a late site

A loop costs the same per lesion, so loops run a fixed number of lesions (`--trials`) and are scaled by count. A sweep
runs in full, except where its own line says that it was scaled. Beside each ratio stands the ceiling: the time that the
multiply-adds that must be done take at the rate this machine's convolutions reach, over the loop's time.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torchvision
from torch import nn

from facelesion.lesions import Ablate, Dropout, Lesion, Noise, aliases, calibrate
from facelesion.models.vgg import vgg_face
from facelesion.sweep import Options, make_plan, stream, stream_units

CONVOLUTIONS = [
    f"conv{b}_{n}" for b, many in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for n in range(1, many + 1)
]


def timed(run: Callable[[], object], repeats: int = 1) -> float:
    """The best of some runs, in seconds."""
    best = float("inf")
    for _ in range(repeats):
        synchronise()
        begun = time.perf_counter()
        run()
        synchronise()
        best = min(best, time.perf_counter() - begun)
    return best


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def zeroed(model: nn.Module, path: str, units: list[int]) -> Iterator[None]:
    """A plain hook, as anyone would write it."""

    def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, units] = 0
        return output

    handle = model.get_submodule(path).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def plain_hooks(model: nn.Module, images: torch.Tensor, path: str, units: list[int]) -> None:
    for unit in units:
        with torch.no_grad(), zeroed(model, path, [unit]):
            model(images)


def captum(model: nn.Module, images: torch.Tensor, path: str, units: list[int]) -> None:
    """LayerFeatureAblation: one group of features per unit; the units not wanted share the last group."""
    from captum.attr import LayerFeatureAblation

    module = model.get_submodule(path)
    shape: list[torch.Size] = []
    handle = module.register_forward_hook(lambda m, i, o: shape.append(o.shape))
    with torch.no_grad():
        model(images[:1])
    handle.remove()
    groups = torch.full((1, shape[0][1], *[1] * (len(shape[0]) - 2)), len(units))
    for place, unit in enumerate(units):
        groups[0, unit] = place
    with torch.no_grad():
        LayerFeatureAblation(lambda batch: model(batch)[:, 0], module).attribute(
            images, layer_mask=groups.expand(1, *shape[0][1:]).to(images.device)
        )


def nnsight(model: nn.Module, images: torch.Tensor, path: str, units: list[int]) -> None:
    from nnsight import NNsight

    wrapped = NNsight(model)
    for unit in units:
        with torch.no_grad(), wrapped.trace(images):
            site = wrapped
            for name in path.split("."):
                site = site[int(name)] if name.isdigit() else getattr(site, name)
            site.output[:, unit] = 0
            _ = wrapped.output.save()


PEERS = {"captum LayerFeatureAblation": captum, "nnsight": nnsight}


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
    def __init__(self, device: torch.device) -> None:
        self.device, self.lines = device, []
        self.rate = rate(device)

    def add(
        self, workload: str, engine: str, lesions: int, images: int, seconds: float, **more: object
    ) -> None:
        line = {
            "workload": workload, "engine": engine, "lesions": lesions, "images": images, "seconds": seconds,
            "lesion-images per second": lesions * images / seconds, **more,
        }  # fmt: skip
        self.lines.append(line)
        loop = next(
            (e for e in self.lines if e["workload"] == workload and e["engine"] == "plain hooks"), None
        )
        ratio = f"{loop['seconds'] / seconds:7.1f}x" if loop else ""
        ceiling = ""
        if loop and "multiply_adds" in more:
            most = loop["seconds"] / (more["multiply_adds"] / self.rate)
            line["ratio"], line["ceiling"] = loop["seconds"] / seconds, most
            ceiling = f"  ceiling {most:.0f}x, reached {line['ratio'] / most:.0%}"
        print(f"{workload:22} {engine:30} {seconds:9.2f} s {ratio}{ceiling}", flush=True)


def single_units(
    report: Report, model: nn.Module, images: torch.Tensor, sites: list[str], trials: int, peers: bool
) -> None:
    """W1."""
    names = aliases(model)
    for site in sites:
        path, workload = names.get(site, site), f"W1 {site}"
        units = list(range(0, 512, 512 // trials))[:trials]
        plain_hooks(model, images, path, units[:1])
        scale = 512 / len(units)
        seconds = timed(lambda path=path, units=units: plain_hooks(model, images, path, units)) * scale
        report.add(workload, "plain hooks", 512, len(images), seconds, scaled=scale)
        few = units[: max(2, trials // 4)]
        for name, peer in PEERS.items() if peers else ():
            try:
                seconds = timed(functools.partial(peer, model, images, path, few)) * 512 / len(few)
                report.add(workload, name, 512, len(images), seconds, scaled=512 / len(few))
            except Exception as problem:
                print(f"{workload:22} {name:30} not measured: {type(problem).__name__}: {str(problem)[:80]}")
        for name, ahead in (("sweep, no layer ahead", False), ("unit_sweep", True)):
            work = unit_work(model, path, images, ahead) * 512 * len(images)
            seconds = timed(functools.partial(all_units, model, path, images, ahead))
            report.add(workload, name, 512, len(images), seconds, multiply_adds=work)


def all_units(model: nn.Module, path: str, images: torch.Tensor, ahead: bool) -> None:
    for _ in stream_units(model, path, images, options=Options(batch_size=len(images)), ahead=ahead):
        pass


def unit_work(model: nn.Module, path: str, images: torch.Tensor, ahead: bool) -> int:
    """Multiply-adds that one unit's own run must do for one image."""
    plan = make_plan(model, {"all": Ablate(path)}, images[:1])
    after = list(plan.costs[plan.walk.stops[0].position + 1 :])
    if ahead:
        following = next((place for place, cost in enumerate(after) if cost), len(after))
        after = after[following + 1 :]
    return sum(after)


def loop_of(model: nn.Module, images: torch.Tensor, lesions: dict[str, Lesion], trials: int) -> float:
    """A loop over evenly spread lesions, each by the lesion library on the whole network, scaled by count."""
    from facelesion.lesions import lesioned

    names = list(lesions)[:: max(1, len(lesions) // trials)]

    def run() -> None:
        for name in names:
            with torch.no_grad(), lesioned(model, lesions[name], calibration=CALIBRATION.get("here")):
                model(images)

    return timed(run) * len(lesions) / len(names)


CALIBRATION: dict[str, object] = {}


def many(
    report: Report, workload: str, model: nn.Module, images: torch.Tensor, lesions: dict, trials: int
) -> None:
    with torch.no_grad():
        model(images)
    report.add(workload, "plain hooks", len(lesions), len(images), loop_of(model, images, lesions, trials))
    options = Options(batch_size=len(images))
    plan = make_plan(model, lesions, images, options)

    def run() -> None:
        for _ in stream(model, lesions, images, options=options, calibration=CALIBRATION.get("here")):
            pass

    report.add(
        workload,
        "sweep",
        len(lesions),
        len(images),
        timed(run),
        multiply_adds=plan.multiply_adds * len(images),
    )


def every_unit(report: Report, model: nn.Module, images: torch.Tensor, trials: int, share: int) -> None:
    """W4: every `share`-th unit of all 13 sites, scaled by count per site."""
    names = aliases(model)
    paths = [names[site] for site in CONVOLUTIONS]
    counts = {
        path: model.get_submodule(path.rsplit(".", 1)[0])[int(path.rsplit(".", 1)[1]) - 1].out_channels
        for path in paths
    }
    total = sum(counts.values())
    plain_hooks(model, images, paths[0], [0])
    per_unit = timed(
        lambda: [plain_hooks(model, images, path, [0]) for path in paths[:: max(1, 13 // trials)]]
    )
    report.add(
        "W4 all units",
        "plain hooks",
        total,
        len(images),
        per_unit / len(paths[:: max(1, 13 // trials)]) * total,
    )
    options = Options(batch_size=len(images))

    def run(units: dict[str, range]) -> None:
        for _ in stream_units(model, paths, images, units=units, options=options):
            pass

    # Two sizes, so that what is done once (record, healthy walk) is not scaled with the units.
    few = {path: range(0, count, share * 2) for path, count in counts.items()}
    more = {path: range(0, count, share) for path, count in counts.items()}
    done = [sum(map(len, units.values())) for units in (few, more)]
    small, large = timed(lambda: run(few)), timed(lambda: run(more))
    seconds = large + (large - small) / (done[1] - done[0]) * (total - done[1])
    work = sum(counts[path] * unit_work(model, path, images, True) for path in paths) * len(images)
    report.add("W4 all units", "unit_sweep", total, len(images), seconds, multiply_adds=work, scaled=share)


def other_networks(report: Report, images: torch.Tensor, trials: int) -> None:
    for name, make, path in (
        ("W5 ResNet-50", torchvision.models.resnet50, "layer4.0.conv1"),
        ("W5 ViT-B/16", torchvision.models.vit_b_16, "encoder.layers.encoder_layer_9.mlp.1"),
    ):
        model = make().eval().to(images.device)
        many(report, name, model, images, {f"{u}": Ablate(path, units=[u]) for u in range(64)}, trials)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", default=["W1", "W2", "W3", "W4", "W5"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--trials", type=int, default=8, help="lesions that a loop runs before it is scaled")
    parser.add_argument("--share", type=int, default=16, help="W4: every how many-th unit is run")
    parser.add_argument("--sites", default="conv5_1,conv5_2,conv5_3,conv4_3", help="W1: which sites")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = vgg_face().eval().to(device)
    images = torch.randn(given.images, 3, 224, 224, device=device)
    report = Report(device)
    print(f"{device}, {torch.get_num_threads()} threads, {report.rate / 1e9:.0f} G multiply-adds a second")
    if "W1" in given.workloads:
        single_units(report, model, images, given.sites.split(","), given.trials, not given.no_peers)
    if "W2" in given.workloads:
        doses = [(f, seed) for f in (0.05, 0.1, 0.2, 0.4) for seed in range(4)]
        lesions: dict[str, Lesion] = {
            f"{s} {f} {d}": Ablate(s, fraction=f, seed=d) for s in CONVOLUTIONS for f, d in doses
        }
        many(report, "W2 grid", model, images, lesions, given.trials)
    if "W3" in given.workloads:
        study: dict[str, Lesion] = {}
        for dose in (0.2, 0.4, 0.8):
            study[f"ablation {dose}"] = Ablate("conv5_*", fraction=dose)
            study[f"noise {dose}"] = Noise("conv3_2", std=dose, relative=True)
            study[f"dropout {dose}"] = Dropout("conv4_3", p=dose)
            study[f"both {dose}"] = Noise("conv3_2", std=dose, relative=True) + Dropout("conv4_3", p=dose)
        CALIBRATION["here"] = calibrate(model, images, ["conv3_2"])
        five = torch.cat([images[:1] * level for level in (1.0, 0.8, 0.6, 0.4, 0.2)])
        many(report, "W3 study", model, five, study, len(study))
        CALIBRATION.clear()
    if "W4" in given.workloads:
        every_unit(report, model, images, given.trials, given.share)
    if "W5" in given.workloads:
        other_networks(report, images, given.trials)
    if given.out:
        given.out.write_text(json.dumps(report.lines, indent=1, default=str))


if __name__ == "__main__":
    main()
