"""The command line: `facelesion study configs/default.yaml`, `facelesion prepare …`, and so on.

Every command is a function with typed arguments or a frozen dataclass; `facelesion.arguments` reads the command line
and YAML files into the same values. A mistake is one line on standard error and exit status 2.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from facelesion.arguments import read_arguments, read_words
from facelesion.errors import Error, one_line
from facelesion.outputs import writable_file, writable_folder
from facelesion.process import set_process_up
from facelesion.ranges import Label, OnlyWhen, PathText, Range, Seed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

USAGE = """\
facelesion: damage a face network on purpose, and measure what it can no longer do.

  facelesion study CONFIG [--key value ...]        run a lesion study; writes runs/<name>/report.html
  facelesion study CONFIG --engine ray|slurm ...   the same on many machines (docs/clusters.md)
  facelesion status RUN_FOLDER                     what of a run is done, running, failed, and why
  facelesion cancel RUN_FOLDER                     end a run's tasks under SLURM; what is done is kept
  facelesion report RUN_FOLDER                     write a finished run's report again
  facelesion export RUN_FOLDER [--to csv]          write a run's tables for R and others, with a description
  facelesion prepare PHOTOGRAPHS [--out FOLDER]    find landmarks in photographs, cut aligned faces
  facelesion stimuli PHOTO ... [--out sheet.png]   what a network is shown: landmarks, regions, every stimulus
  facelesion gradcam PHOTO ... [--lesion WORDS]    where its evidence lies, layer by layer, in health and in damage
  facelesion faces [--show people] [--out FILE]    draw faces of the built-in face space
  facelesion units [PICTURES] [--by selectivity]   units that answer to a feature: table, contact sheets
  facelesion lab [--port 7862]                     damage a network by hand, in a page on this machine
  facelesion notebook RUN_FOLDER                   the Keras notebook part by part, beside what it printed
  facelesion weights convert FILE --to FILE        make VGG-Face's published weights loadable
  facelesion weights verify FILE                   check the result [--photograph FACE.jpg]
  facelesion weights list | fetch NAME | path NAME weights that facelesion knows of, and where they are
  facelesion hub push WHAT --to USER/NAME          weights, or a study, to the Hugging Face hub; fetch gets them
  facelesion sites [MODEL]                         names of the places in a network that can be damaged
  facelesion train --config FILE.yaml              train a network; also python -m facelesion.train

`facelesion COMMAND --help` lists a command's settings.
"""

_SHEET_ROW = 6 * 112 * 112 * 3 * 4  # bytes of a row of six faces while it is drawn


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    set_process_up()
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run one command; the exit status: 0 done, 2 a mistake that its one line explains, 130 interrupted."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from facelesion import __version__

        print(f"facelesion {__version__}")
        return 0
    command = COMMANDS.get(argv[0])
    return guarded(lambda: command(argv[1:]) if command else _unknown(argv[0]))


def guarded(work: Callable[[], Any]) -> int:
    """Do `work`; turn the errors that are the user's to mend into one line, and the rest into a traceback."""
    try:
        work()
    except Error as error:
        print(f"facelesion: error: {one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("facelesion: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        import errno

        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise
        print(f"facelesion: error: {error}: free some space or choose another folder", file=sys.stderr)
        return 2
    return 0


def _study(argv: list[str]) -> None:
    from facelesion.engines.words import engine_words
    from facelesion.study import Study, dry_run, run_study
    from facelesion.study.design import placed, study_of

    engine, rest = engine_words(argv)
    words = [word for word in rest if word != "--dry-run"]
    tree = read_words(Study, words, "facelesion study [--dry-run] [--engine NAME]", config=True)
    study = study_of(tree)
    with placed(tree):
        if len(words) < len(rest):
            print(dry_run(study))
            return
        writable_folder(Path(study.output) / study.name, "output")
        chosen = engine(study.processes)
        print(run_study(study, command=" ".join(["facelesion study", *argv]), engine=chosen))


def _status(argv: list[str]) -> None:
    from facelesion.engines.runs import status_command

    status_command(argv)


def _cancel(argv: list[str]) -> None:
    from facelesion.engines.runs import cancel_command

    cancel_command(argv)


def _report(argv: list[str]) -> None:
    from facelesion.report import write_report

    def report(run_folder: PathText) -> None:
        """Write the report of a finished run again, from its table alone.

        Args:
            run_folder: a folder such as runs/default.

        Example:
            $ facelesion report runs/default
        """
        if not Path(run_folder).is_dir():
            raise Error(f"{run_folder}: no such folder: give a run's, such as runs/default")
        print(write_report(writable_folder(run_folder, "run_folder")))

    report(**read_arguments(report, argv, "facelesion report"))


def _export(argv: list[str]) -> None:
    from facelesion.report import export_run

    def export(
        run_folder: PathText, to: Literal["csv", "csv.gz", "psych-ds"] = "csv", out: PathText | None = None
    ) -> None:
        """Write both tables of a finished run as CSV, for R and others, with columns.json: what every column is.

        Args:
            run_folder: a folder such as runs/default.
            to: csv; csv.gz, which R and pandas read as it is; or psych-ds, a data set by Psych-DS, ready to be shared.
            out: the folder to make; csv or psych-ds in the run's folder when left out.

        Example:
            $ facelesion export runs/default --to csv.gz
        """
        if Path(run_folder).is_dir():
            writable_folder(Path(out or run_folder).absolute().parent if out else run_folder, "out")
        print(export_run(run_folder, out, to))

    export(**read_arguments(export, argv, "facelesion export"))


def _prepare(argv: list[str]) -> None:
    def prepare_photographs(
        root: PathText,
        out: PathText | None = None,
        landmarks: Literal["mediapipe", "dlib", "mtcnn"] = "mediapipe",
        model: Annotated[PathText | None, OnlyWhen("landmarks", "mediapipe", "dlib")] = None,
        workers: Annotated[int | None, Range(1, 1024)] = None,
        size: Annotated[int, Range(16, 1024)] = 112,
        margin: Annotated[int, Range(0, 1024)] = 0,
        strict: bool = False,
    ) -> None:
        """Find the face in every photograph, align it, and keep crops and landmarks in a folder.

        Args:
            root: a folder of people with their photographs, or a CSV or parquet table of path and person.
            out: the folder to write; the photographs' folder with -prepared at its end when left out.
            landmarks: what finds them.
            model: the backend's model file, such as face_landmarker.task.
            workers: processes; one per core when left out.
            size: side of the crops in pixels.
            margin: pixels around them.
            strict: leave with exit status 2 when a photograph had to be left out.

        Example:
            $ facelesion prepare photographs --landmarks mtcnn --out prepared
        """
        from facelesion.data import prepare

        place = Path(os.path.abspath(root))
        target = Path(out) if out else place.parent / f"{place.stem}-prepared"
        writable_folder(target, "out")
        print(
            prepare(
                root,
                target,
                landmarks=landmarks,
                model=model,
                workers=workers,
                size=size,
                margin=margin,
                strict=strict,
            )
        )

    prepare_photographs(**read_arguments(prepare_photographs, argv, "facelesion prepare"))


def _faces(argv: list[str]) -> None:
    def faces(
        show: Literal["people", "caricature", "morph", "exchange", "distractors", "looks"] = "people",
        people: Annotated[int, Range(1, 500, bytes_each=_SHEET_ROW)] = 6,
        pictures: Annotated[int, Range(2, 100), OnlyWhen("show", "people", "morph")] = 6,
        seed: Seed = 0,
        out: PathText = "faces.png",
    ) -> None:
        """Draw a sheet of faces of the built-in face space: a row per person.

        Args:
            show: pictures of each person, or what one of the face space's tools does with them.
            people: rows.
            pictures: columns, where `show` leaves them open.
            seed: another seed, other people.
            out: the picture to write, in a folder that exists; its ending says the format.

        Example:
            $ facelesion faces --show caricature --people 4 --out caricatures.png
        """
        from facelesion.data.facespace import FaceSpace
        from facelesion.data.facespace_tools import draw_sheet

        place = Path(out)
        kind = _picture_format(place)
        writable_file(place, "out")
        sheet = draw_sheet(FaceSpace.load(), show, people, pictures, seed)
        _write_picture(place, sheet, kind)
        print(out)

    faces(**read_arguments(faces, argv, "facelesion faces"))


def _picture_format(path: Path) -> str:
    """The format that a picture's ending asks for, once it is known that the picture can be written there."""
    from PIL import Image

    if not path.parent.is_dir():
        raise Error(f"{path}: no folder {path.parent}: make it, or choose another place")
    if path.is_dir():
        raise Error(f"{path} is a folder: give a file in it, such as {path / 'faces.png'}")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise Error(f"{path}: {path.suffix or 'no ending'} is no kind of picture: end it in .png")
    return kind


def _write_picture(path: Path, pixels: npt.NDArray[np.uint8], kind: str) -> None:
    """Write pixels (H, W, 3), RGB, whole or not at all."""
    from PIL import Image

    from facelesion.files import write_bytes

    encoded = io.BytesIO()
    try:
        Image.fromarray(pixels).save(encoded, kind)
    except (OSError, ValueError) as error:  # formats that are read only, or take no colours
        raise Error(f"{path}: not written ({error}): end it in .png") from None
    write_bytes(path, encoded.getvalue())


def _weights(argv: list[str]) -> None:
    def convert(
        file: PathText,
        to: PathText,
        top: bool = False,
        names: Annotated[PathText | None, OnlyWhen("top")] = None,
        colours: Literal["fold", "keep"] = "fold",
        known_as: Literal["vgg-face"] | None = None,
        source_colours: Literal["RGB", "BGR"] | None = None,
    ) -> None:
        """Convert published weights of VGG-Face into a safetensors file that facelesion loads.

        Args:
            file: Keras' .h5 or .keras, MatConvNet's .mat, Torch7's .t7, or a PyTorch state dict (.pth, .pt).
            to: the .safetensors file to write.
            top: take the fully connected layers too; the representation is then fc7.
            names: a text file with the names of fc8's units, one a line.
            colours: fold BGR into the first layer, or keep it and turn the pictures round.
            known_as: vgg-face says whose weights they are where the file cannot show it.
            source_colours: the order the source wants, where it is known better than from the format.

        Example:
            $ facelesion weights convert vgg_face.mat --to vgg_face.safetensors
        """
        from facelesion.models.convert import convert

        writable_file(to, "to")
        about = convert(file, to, top, names, colours, known_as, source_colours)
        parts = "fc7 is the representation" if top else "convolutions only"
        print(
            f"{to}: converted from {about['converted_from']} ({about['source_colour_order']}), "
            f"takes {about['colour_order']}, {parts}"
        )

    def verify(
        file: PathText,
        photograph: PathText | None = None,
        landmarks: Annotated[Literal["mediapipe", "dlib", "mtcnn"], OnlyWhen("photograph")] = "mediapipe",
        model: Annotated[PathText | None, OnlyWhen("photograph")] = None,
    ) -> None:
        """Check a converted file: its layers, its statistics and, with a photograph of a face, the notebook's units.

        Args:
            file: the .safetensors file.
            photograph: a picture of one face, cut as widely as Labeled Faces in the Wild cuts them.
            landmarks: what finds the face's features.
            model: the backend's model file, such as face_landmarker.task.

        Example:
            $ facelesion weights verify vgg_face.safetensors
        """
        from facelesion.data.alone import features_alone
        from facelesion.models.verify import FEATURES, verify

        shown = None
        if photograph is not None:
            shown = features_alone(photograph, FEATURES, landmarks=landmarks, model=model)
        result = verify(file, shown)
        print(result)
        result.demand()

    def listing() -> None:
        """List the weights that facelesion knows of: name, state, size, licence.

        Example:
            $ facelesion weights list
        """
        from facelesion.weights import registry

        for entry in registry.entries().values():
            found = entry.find()
            size = entry.size if found is None else found.stat().st_size
            shown = "size unknown" if size is None else f"{size / 1e6:.1f} MB"
            print(f"{entry.name:<26}{entry.state():<18}{shown:>13}  {entry.licence}")

    def fetch(name: Label, to: PathText | None = None) -> None:
        """Fetch weights, and check that they are what they should be.

        Args:
            name: as `facelesion weights list` names them.
            to: the folder to put them in; by default $FACELESION_WEIGHTS, else the user's cache folder.

        Example:
            $ facelesion weights fetch mobilefacenet
        """
        from facelesion.weights import places, registry

        entry = registry.entry(name)
        if to is not None:
            writable_folder(to, "to")
        file = registry.fetch(name, to)
        print(file)
        if entry.checksum is None and (noted := registry.recorded(file)) is not None:
            print(f"unchecked: nobody published its hash; held to {noted} from now on", file=sys.stderr)
        if entry.convert:
            if entry.convert != entry.file:
                print(f"unpack it: tar -xzf {file} -C {file.parent}", file=sys.stderr)
            place = places.weights_folder() / "vgg_face.safetensors"
            print(
                f"then: facelesion weights convert {file.parent / entry.convert} --to {place}",
                file=sys.stderr,
            )
        elif file.parent not in places.weights_folders():
            print(f"to have it found: FACELESION_WEIGHTS={file.parent}", file=sys.stderr)

    def path(name: Label) -> None:
        """Tell where weights are, or what to put where.

        Args:
            name: as `facelesion weights list` names them.

        Example:
            $ facelesion weights path builtin
        """
        from facelesion.weights import registry

        print(registry.path(name))

    actions: dict[str, Callable[..., None]] = {
        "convert": convert,
        "verify": verify,
        "list": listing,
        "fetch": fetch,
        "path": path,
    }
    if not argv or argv[0] not in actions:
        raise Error(f"weights what? facelesion weights {'|'.join(actions)} ...")
    action = actions[argv[0]]
    action(**read_arguments(action, argv[1:], f"facelesion weights {argv[0]}"))


def _sites(argv: list[str]) -> None:
    def sites(model: PathText = "builtin") -> None:
        """Name the places in a network that can be damaged: module paths, and their aliases where they have one.

        Args:
            model: a model's name, or a file of weights.

        Example:
            $ facelesion sites torchvision/resnet18
        """
        from facelesion.lesions import aliases
        from facelesion.lesions import sites as list_sites
        from facelesion.models import get

        module = get(model).module
        names = {path: alias for alias, path in aliases(module).items()}
        for path in list_sites(module):
            print(f"{path}  {names[path]}" if path in names else path)

    sites(**read_arguments(sites, argv, "facelesion sites"))


def _stimuli(argv: list[str]) -> None:
    from facelesion.looking.commands import stimuli_command

    stimuli_command(argv)


def _gradcam(argv: list[str]) -> None:
    from facelesion.looking.commands import gradcam_command

    gradcam_command(argv)


def _units(argv: list[str]) -> None:
    from facelesion.looking.units import units_command

    units_command(argv)


def _notebook(argv: list[str]) -> None:
    from facelesion.training.notebook_page import notebook_command

    notebook_command(argv)


def _lab(argv: list[str]) -> None:
    from facelesion.lab.command import lab_command

    lab_command(argv)


def _train(argv: list[str]) -> None:
    from facelesion.training.command import train_command

    train_command(argv)


def _hub(argv: list[str]) -> None:
    from facelesion.hub.commands import hub_command

    hub_command(argv)


def _unknown(name: str) -> None:
    raise Error(f"no command {name!r}: take one of {', '.join(COMMANDS)}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "study": _study,
    "report": _report,
    "export": _export,
    "prepare": _prepare,
    "stimuli": _stimuli,
    "gradcam": _gradcam,
    "faces": _faces,
    "weights": _weights,
    "sites": _sites,
    "units": _units,
    "status": _status,
    "cancel": _cancel,
    "notebook": _notebook,
    "lab": _lab,
    "hub": _hub,
    "train": _train,
}
