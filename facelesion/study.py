"""A whole lesion study from one YAML file: every stimulus × lesion × task, into one table and a report.

The flow: gather pictures, load the network, fit the readouts on the healthy network and freeze them, then for every
stimulus sweep all lesions and ask every task. Each stimulus' rows are kept on disk as they come, so a killed study goes
on where it was.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

import facelesion
from facelesion.errors import FacelesionError
from facelesion.faces.stimuli import Stimulus
from facelesion.lesions import (
    Ablate,
    Calibration,
    Dropout,
    Lesion,
    Noise,
    Prune,
    calibrate,
    lesion_sites,
    lesioned,
)
from facelesion.materials import DataConfig, Materials, gather
from facelesion.models import Subject, get
from facelesion.sweep import sweep
from facelesion.tasks import Detection, Identification, Objects, Task, Verification

if TYPE_CHECKING:
    import pandas as pd

    from facelesion.report import Confusion, GradCamMaps

TaskName = Literal["detection", "identification", "verification", "objects"]
INTACT = "intact"
GRAD_CAM_SITES = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_1", "conv5_3")  # early, middle, late


@dataclass(frozen=True)
class Damage:
    """One kind of damage at some sites, in growing doses.

    Attributes:
        damage: `ablate` (dose: fraction of units), `noise` (dose: standard deviations of the unit's own activation),
            `dropout` (dose: probability) or `prune` (dose: fraction of incoming synapses).
        sites: where, all at once: names such as `conv4_3`.
        doses: how much, one lesion per dose.
    """

    damage: Literal["ablate", "noise", "dropout", "prune"]
    sites: list[str]
    doses: list[float]

    def lesion(self, step: int, seed: int) -> Lesion:
        """The lesion of the dose at position `step`, drawn with `seed`."""
        dose, sites = self.doses[step], ", ".join(self.sites)
        match self.damage:
            case "ablate":
                return Ablate(sites, fraction=dose, seed=seed)
            case "noise":
                return Noise(sites, std=dose, relative=True, seed=seed)
            case "dropout":
                return Dropout(sites, p=dose, seed=seed)
            case "prune":
                return Prune(sites, fraction=dose, seed=seed)


@dataclass(frozen=True)
class StudyConfig:
    """Everything a study depends on.

    Attributes:
        name: of the run's folder.
        question: what the study asks, in plain sentences; printed at the head of the report.
        model: a name from `facelesion.models`, or a file of weights.
        data: which pictures.
        stimuli: `intact`, or a change and a region: `mask eyes`, `blur nose`, `isolate mouth`.
        approaches: by name, the kinds of damage that act together; step i of an approach takes the i-th dose of each,
            and the table's `dose` is that of the first.
        tasks: what is asked.
        draws: how often each lesion is drawn anew (other units, other noise).
        seed: of pictures and lesions.
        output: the folder of run folders.
        overwrite: replace another study of the same name.
        device: `cpu`, `cuda`, or `auto`.
        batch_size: images per forward pass.
    """

    name: str = "default"
    question: str = ""
    model: str = "builtin"
    data: DataConfig = field(default_factory=DataConfig)
    stimuli: list[str] = field(default_factory=lambda: [INTACT])
    approaches: dict[str, list[Damage]] = field(default_factory=dict)
    tasks: list[TaskName] = field(
        default_factory=lambda: ["detection", "identification", "verification", "objects"]
    )
    draws: int = 5
    seed: int = 0
    output: str = "runs"
    overwrite: bool = False
    device: str = "auto"
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise FacelesionError(
                f"name {self.name!r} cannot be a folder's name: take letters, digits, - and _"
            )
        if not self.approaches:
            raise FacelesionError(
                "approaches is empty: name at least one kind of damage (see configs/default.yaml)"
            )
        if not self.stimuli or self.stimuli[0] != INTACT:
            raise FacelesionError("stimuli must begin with `intact`: everything is compared with it")
        for what, values in (("stimuli", self.stimuli), ("tasks", self.tasks)):
            if not values or len(set(values)) < len(values):
                raise FacelesionError(
                    f"{what} must name something, and nothing twice: {', '.join(values) or 'nothing there'}"
                )
        if self.draws < 1:
            raise FacelesionError(f"draws is {self.draws}: it must be 1 or more")
        for name, damages in self.approaches.items():
            steps = {len(damage.doses) for damage in damages}
            if not damages or not all(damage.sites for damage in damages) or len(steps) != 1 or steps == {0}:
                raise FacelesionError(
                    f"approaches.{name}: every damage needs sites, and all of an approach need equally many doses"
                )


@dataclass(frozen=True)
class Condition:
    """One lesion of a study, and where it stands in the design."""

    approach: str
    dose: float
    draw: int
    lesion: Lesion | None


def conditions(config: StudyConfig) -> list[Condition]:
    """All lesions of a study, the intact network first."""
    found = [Condition("none", 0.0, 0, None)]
    for approach, damages in config.approaches.items():
        for step, dose in enumerate(damages[0].doses):
            for draw in range(config.draws):
                parts = [damage.lesion(step, seed=config.seed * 1000 + draw) for damage in damages]
                found.append(Condition(approach, dose, draw, sum(parts[1:], start=parts[0])))
    return found


def run_study(config: StudyConfig, command: str = "") -> Path:
    """Run a study; the path of its report.

    What it leaves in `<output>/<name>`: see `facelesion.report.run_folder`.

    Raises:
        FacelesionError: a site, model, file or stimulus does not exist, or the folder holds another study.
    """
    from facelesion import report

    clock = _Clock()
    subject = get(config.model)
    lesions = conditions(config)
    for condition in lesions[1:]:
        lesion_sites(
            subject.module, condition.lesion
        )  # a site that does not exist is found here, not at minute nine
    stimuli = [Stimulus.from_dict(name) for name in config.stimuli]

    say(f"Gathering pictures ({config.data.source})")
    materials = gather(config.data, config.seed, subject.size)
    folder = Path(config.output) / config.name
    key = _key(config, subject, materials)
    if _claim(folder, key, config.overwrite):
        say(f"{folder} holds this very study already: only the report is written again")
        return report.write_report(folder)
    parts = folder / "parts"
    bench = _Bench.build(subject, materials, config)
    clock.mark("pictures, calibration and readouts")
    say(
        f"{len(stimuli)} stimuli × {len(lesions)} networks (intact and {len(lesions) - 1} lesions) × "
        f"{len(bench.pool)} pictures × {len(bench.tasks)} tasks on {bench.device}"
    )
    confusions: list[Confusion] = []
    for number, (name, stimulus) in enumerate(zip(config.stimuli, stimuli, strict=True), start=1):
        path = parts / f"{number:03d}.parquet"
        if path.exists() and not (name == INTACT):
            say(f"  [{number}/{len(stimuli)}] {name}: already there")
            continue
        started = time.monotonic()
        representations = bench.represent_all(stimulus, lesions)
        rows = list(_rows(config, subject, bench, lesions, name, representations))
        if name == INTACT:
            confusions = _confusions(config, bench, lesions, representations)
        _write_part(path, rows)
        say(f"  [{number}/{len(stimuli)}] {name}: {time.monotonic() - started:.0f} s")
    clock.mark("sweep")

    report.write_config(folder, dataclasses.asdict(config))
    report.write_stimuli(folder, config.stimuli, bench.examples(stimuli))
    report.write_confusions(folder, confusions)
    maps = _gradcam(config, subject, bench, lesions)
    if maps is not None:
        report.write_gradcam(folder, maps)
    clock.mark("Grad-CAM")
    report.write_table(folder, _read_parts(parts))
    report.write_manifest(
        folder,
        report.Manifest(
            study=config.name,
            command=command or " ".join(["facelesion", *sys.argv[1:]]),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds=clock.seconds,
            versions=versions(),
            hashes={"weights": subject.weights, "pictures": bench.digest, "study": key},
            seeds={"pictures and lesions": config.seed},
            left_out=[report.LeftOut(picture.name, picture.reason) for picture in materials.left_out],
            device=str(bench.device),
            question=config.question,
        ),
    )
    say("Writing the report")
    page = report.write_report(folder)
    for path in sorted(parts.glob("*")):
        path.unlink()
    parts.rmdir()
    return page


def say(line: str) -> None:
    """Tell how far the study is, on standard error."""
    print(line, file=sys.stderr, flush=True)


def versions() -> dict[str, str]:
    """What a result depends on besides its settings."""
    packages = ("torch", "torchvision", "numpy", "scipy", "pandas", "mediapipe", "captum")
    return {
        "facelesion": facelesion.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


@dataclass(frozen=True, eq=False)
class _Bench:
    """The network on the bench: the pictures it is shown, its calibration, and the tasks with their frozen readouts.

    All tested pictures lie in one pool, so that each lesion sees each picture once and every task takes its rows.
    Pictures without a face borrow the landmarks of one, so that a mask is no sign of a face.
    """

    subject: Subject
    device: torch.device
    pool: torch.Tensor
    landmarks: torch.Tensor
    faces: int
    tasks: list[Task]
    calibration: Calibration
    digest: str
    batch_size: int

    @classmethod
    def build(cls, subject: Subject, materials: Materials, config: StudyConfig) -> _Bench:
        device = _device(config.device)
        subject.module.to(device).eval()
        shown = [materials.probes, materials.strangers, materials.objects]
        if materials.others is not None:
            shown.append(materials.others)
        pool = torch.cat([pictures.images for pictures in shown])
        known, faces = len(materials.probes), len(materials.probes) + len(materials.strangers)
        landmarks = torch.cat([materials.probes.landmarks, materials.strangers.landmarks])
        borrowed = landmarks[torch.arange(len(pool) - faces) % faces]

        def represent(images: torch.Tensor) -> torch.Tensor:
            return _represent(subject, images, device, config.batch_size)

        training = represent(materials.training.images)
        training_objects = represent(materials.training_objects.images)
        enrolment = represent(materials.enrolment.images)
        tasks: list[Task] = []
        rows = torch.arange(len(pool))
        objects = slice(faces, faces + len(materials.objects))
        for name in config.tasks:
            if name == "detection":
                others = torch.cat([training_objects, represent(materials.training_others.images)])
                seen = torch.cat([training, others])
                tasks.append(Detection.fit(seen, torch.arange(len(seen)) < len(training), rows, rows < faces))
            elif name == "identification":
                labels, probes = materials.enrolment.labels, materials.probes.labels
                tasks.append(Identification.fit(enrolment, labels, subject.identity, rows[:known], probes))
            elif name == "verification":
                first, second, same = materials.pairs
                tested = (first + known, second + known, same)
                tasks.append(Verification.fit(training, materials.training_pairs, subject.identity, tested))
            else:
                labels = materials.training_objects.labels
                tasks.append(Objects.fit(training_objects, labels, rows[objects], materials.objects.labels))
        sites = sorted({site for damages in config.approaches.values() for d in damages for site in d.sites})
        batches = (
            subject.preprocess(images.to(device))
            for images in materials.training.images.split(config.batch_size)
        )
        digest = hashlib.sha256("".join(pictures.digest for pictures in shown).encode()).hexdigest()[:12]
        return cls(
            subject,
            device,
            pool,
            torch.cat([landmarks, borrowed]),
            faces,
            tasks,
            calibrate(subject.module, batches, sites),
            digest,
            config.batch_size,
        )

    def show(self, stimulus: Stimulus) -> Iterator[torch.Tensor]:
        """The pool under a stimulus, preprocessed, in batches."""
        for images, landmarks in zip(
            self.pool.split(self.batch_size), self.landmarks.split(self.batch_size), strict=True
        ):
            pictures = images.to(self.device).float() / 255
            yield self.subject.preprocess(stimulus(pictures, landmarks.to(self.device)))

    def represent_all(self, stimulus: Stimulus, lesions: Sequence[Condition]) -> list[torch.Tensor]:
        """Every network's representation (N, D) of the pool under a stimulus."""
        found = sweep(
            self.subject.module,
            {str(number): condition.lesion for number, condition in enumerate(lesions)},
            self.show(stimulus),
            calibration=self.calibration,
            progress=True,
        )
        return [found[str(number)].float().cpu() for number in range(len(lesions))]

    def examples(self, stimuli: Sequence[Stimulus]) -> Any:
        """The first face under every stimulus: uint8 (stimuli, H, W, 3)."""
        image, landmarks = self.pool[:1].float() / 255, self.landmarks[:1]
        shown = torch.cat([stimulus(image, landmarks) for stimulus in stimuli])
        return (shown * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _represent(subject: Subject, images: torch.Tensor, device: torch.device, batch_size: int) -> torch.Tensor:
    with torch.no_grad():
        batches = [
            subject.module(subject.preprocess(part.to(device))).float().cpu()
            for part in images.split(batch_size)
        ]
    return torch.cat(batches)


def _rows(
    config: StudyConfig,
    subject: Subject,
    bench: _Bench,
    lesions: Sequence[Condition],
    stimulus: str,
    representations: Sequence[torch.Tensor],
) -> Iterator[dict[str, Any]]:
    for condition, representation in zip(lesions, representations, strict=True):
        lesion = condition.lesion
        if not torch.isfinite(representation).all():
            raise FacelesionError(
                f"{lesion} makes the network's output infinite: lower the dose of {condition.approach}"
            )
        for task in bench.tasks:
            for score in task.score(representation):
                yield {
                    "study": config.name,
                    "model": subject.name,
                    "weights": subject.weights,
                    "approach": condition.approach,
                    "lesion": "none" if lesion is None else str(lesion),
                    "lesion_hash": "none" if lesion is None else lesion.hash,
                    "sites": "" if lesion is None else ",".join(_sites(config, condition.approach)),
                    "dose": condition.dose,
                    "draw": condition.draw,
                    "seed": config.seed,
                    "stimulus": stimulus,
                    "task": task.name,
                    "metric": score.metric,
                    "value": score.value,
                    "n": score.n,
                    "chance": score.chance,
                    "data": bench.digest,
                }


def _write_part(path: Path, rows: list[dict[str, Any]]) -> None:
    """One stimulus' rows; the file appears whole or not at all."""
    import pandas as pd

    draft = path.with_suffix(".draft")
    pd.DataFrame(rows).to_parquet(draft, index=False)
    draft.replace(path)


def _read_parts(folder: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))], ignore_index=True)


def _sites(config: StudyConfig, approach: str) -> list[str]:
    return sorted({site for damage in config.approaches[approach] for site in damage.sites})


def _heaviest(lesions: Sequence[Condition]) -> list[int]:
    """The intact network and the first draw of every approach's last dose."""
    last = {c.approach: number for number, c in enumerate(lesions) if c.draw == 0}
    return [last[name] for name in last]


def _confusions(
    config: StudyConfig, bench: _Bench, lesions: Sequence[Condition], representations: Sequence[torch.Tensor]
) -> list[Confusion]:
    from facelesion.report import Confusion

    found = []
    for task in bench.tasks:
        if not isinstance(task, Detection | Identification):
            continue
        for number in _heaviest(lesions):
            labels, matrix = task.confusion(representations[number])
            found.append(Confusion(task.name, _name(lesions[number]), matrix.numpy(), tuple(labels)))
    return found


def _gradcam(
    config: StudyConfig, subject: Subject, bench: _Bench, lesions: Sequence[Condition]
) -> GradCamMaps | None:
    """Where the evidence for the first probe's own identity comes from, intact and under the heaviest lesions."""
    import numpy as np

    from facelesion.analysis.gradcam import grad_cam, likeness_score
    from facelesion.report import GradCamMaps

    who = next((task for task in bench.tasks if isinstance(task, Identification)), None)
    aliases = getattr(subject.module, "site_aliases", {})
    sites = [site for site in GRAD_CAM_SITES if site in aliases]
    if who is None or not sites:
        return None
    image = bench.pool[:1]
    images = subject.preprocess(image.to(bench.device))
    identity = copy.deepcopy(who.identity).to(bench.device)
    score = likeness_score(who.prototypes.to(bench.device), int(who.targets[0]), identity)
    names, heat = [], []
    for number in _heaviest(lesions):
        condition = lesions[number]
        maps = grad_cam(
            subject.module,
            images,
            sites,
            score,
            damage=lambda lesion=condition.lesion: lesioned(  # type: ignore[misc]
                subject.module, lesion, calibration=bench.calibration
            ),
        )
        names.append(_name(condition))
        heat.append(np.stack([maps[site][0].cpu().numpy() for site in sites]))
    picture = torch.nn.functional.interpolate(
        image.float(), images.shape[-2:], mode="bilinear", antialias=True
    )
    shown = picture[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return GradCamMaps(tuple(names), tuple(sites), np.stack(heat), shown)


def _name(condition: Condition) -> str:
    return INTACT if condition.lesion is None else f"{condition.approach} {condition.dose:g}"


def _key(config: StudyConfig, subject: Subject, materials: Materials) -> str:
    """What decides a study's numbers: settings (but for where and how fast), weights, pictures, version."""
    settings = dataclasses.asdict(config)
    for name in ("output", "overwrite", "device", "batch_size", "question"):
        del settings[name]
    for name in ("root", "prepared", "protocols", "landmarker", "objects"):
        settings["data"][name] = settings["data"][name] is not None
    pictures = [
        value.digest for value in vars(materials).values() if hasattr(value, "digest")
    ]  # fmt: skip
    text = json.dumps([settings, subject.weights, pictures, facelesion.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _claim(folder: Path, key: str, overwrite: bool) -> bool:
    """Make the run folder ours: new, or begun earlier by the very same study. True where that is finished."""
    import shutil

    note = folder / "parts" / "key"
    manifest = folder / "manifest.json"
    there = None
    if note.exists():
        there = note.read_text().strip()
    elif manifest.exists():
        there = json.loads(manifest.read_text())["hashes"].get("study")
        if there == key:
            return True
    elif folder.exists() and any(folder.iterdir()):
        raise FacelesionError(f"{folder} exists and is no run of a study: choose another --name")
    if there not in (None, key):
        if not overwrite:
            raise FacelesionError(
                f"{folder} holds another study (its settings, weights or pictures differ): "
                "choose another --name, or replace it with --overwrite true"
            )
        shutil.rmtree(folder)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(key + "\n")
    return False


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise FacelesionError(
            f"device {name!r} cannot be used ({str(error).splitlines()[0]}): take cpu or auto"
        ) from None
    return device


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def mark(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = round(now - self._last, 1)
        self._last = now
