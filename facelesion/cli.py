"""The command line: `facelesion study configs/default.yaml`, `facelesion prepare …`, and so on.

Every command is a function with typed arguments or a frozen dataclass; the command line and YAML files are read into
the same values by jsonargparse. A mistake is one line on standard error and exit status 2.
"""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facelesion.errors import FacelesionError
from facelesion.threads import wait_asleep

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

USAGE = """\
facelesion: damage a face network on purpose, and measure what it can no longer do.

  facelesion study CONFIG [--key value ...]        run a lesion study; writes runs/<name>/report.html
  facelesion report RUN_FOLDER                     write a finished run's report again
  facelesion prepare PHOTOGRAPHS [--out FOLDER]    find landmarks in photographs, cut aligned faces
  facelesion faces [--show people] [--out FILE]    draw faces of the built-in face space
  facelesion weights convert FILE --to FILE        make VGG-Face's published weights loadable
  facelesion weights verify FILE                   check the result [--photograph FACE.jpg]
  facelesion weights list | fetch NAME | path NAME weights that facelesion knows of, and where they are
  facelesion sites [MODEL]                         names of the places in a network that can be damaged
  python -m facelesion.train --config FILE.yaml    train a network

`facelesion COMMAND --help` lists a command's settings.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    wait_asleep()
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
    from facelesion.lesions import LesionError
    from facelesion.sweep import SweepError

    try:
        work()
    except (FacelesionError, LesionError, SweepError) as error:
        print(f"facelesion: error: {' '.join(str(error).split())}", file=sys.stderr)
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


def read_arguments(
    target: Callable[..., Any], argv: Sequence[str], prog: str, config: bool = False
) -> dict[str, Any]:
    """Arguments of a function or dataclass from the command line, and from YAML files where `config` says so.

    With `config`, the first plain word is a YAML file; what follows on the command line goes over it.

    Raises:
        FacelesionError: an unknown key, a value of the wrong kind, a file that is missing or no YAML.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(prog=prog, exit_on_error=False, description=(target.__doc__ or "").split("\n")[0])
    words = _spelled_out(target, list(argv))
    if config:
        parser.add_argument("--config", action="config", help="a YAML file with any of these settings")
        if words and not words[0].startswith("-"):
            words = ["--config", str(config_path(words[0])), *words[1:]]
    add = parser.add_class_arguments if isinstance(target, type) else parser.add_function_arguments
    add(target, as_group=False)
    try:
        parsed = parser.instantiate_classes(parser.parse_args(words))
    except (ArgumentError, TypeError, ValueError) as error:
        raise FacelesionError(_one_line(error)) from None
    values = dict(vars(parsed))
    values.pop("config", None)
    return values


def config_path(word: str) -> Path:
    """The YAML file a word on the command line means: a path, or the name of a config that the project carries.

    Raises:
        FacelesionError: neither a file nor the name of a config.
    """
    if Path(word).is_file():
        return Path(word)
    package = Path(__file__).resolve().parent
    carried = [folder / f"{word}.yaml" for folder in (package / "_configs", package.parent / "configs")]
    found = [path for path in carried if Path(word).name == word and path.is_file()]
    if not found:
        raise FacelesionError(f"no config file at {word}: give a YAML file, or a name such as default or lfw")
    return found[0]


def _spelled_out(target: Callable[..., Any], words: list[str]) -> list[str]:
    """Allow `--strict` for `--strict true`, and a first plain word for a function's first argument."""
    parameters = inspect.signature(target).parameters
    switches = {
        f"--{name.replace('_', '-')}" for name, p in parameters.items() if isinstance(p.default, bool)
    }
    switches |= {f"--{name}" for name, p in parameters.items() if isinstance(p.default, bool)}
    spelled: list[str] = []
    for word, after in zip(words, [*words, "--"][1:], strict=True):
        spelled.append(word)
        if word in switches and after.startswith("--"):
            spelled.append("true")
    first = next(iter(parameters.values()), None)
    plain = bool(words) and not words[0].startswith("-")
    if plain and first is not None and not is_dataclass(target):
        spelled.insert(0, f"--{first.name}")
    return spelled


def _one_line(error: Exception) -> str:
    """What matters of a parser's message: it nests the cause at the end."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")]
    return " ".join(lines)


def _study(argv: list[str]) -> None:
    from facelesion.study import StudyConfig, run_study

    values = read_arguments(StudyConfig, argv, "facelesion study", config=True)
    page = run_study(StudyConfig(**values), command=" ".join(["facelesion study", *argv]))
    print(page)


def _report(argv: list[str]) -> None:
    from facelesion.report import write_report

    def report(run_folder: str) -> None:
        """Write the report of a finished run again, from its table alone.

        Args:
            run_folder: a folder such as runs/default.
        """
        print(write_report(run_folder))

    report(**read_arguments(report, argv, "facelesion report"))


def _prepare(argv: list[str]) -> None:
    def prepare_photographs(
        root: str,
        out: str | None = None,
        landmarks: Literal["mediapipe", "dlib", "mtcnn"] = "mediapipe",
        model: str | None = None,
        workers: int | None = None,
        size: int = 112,
        margin: int = 0,
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
        """
        from facelesion.faces.preparation import prepare

        place = Path(root)
        target = Path(out) if out else place.with_name(f"{place.resolve().stem}-prepared")
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
        people: int = 6,
        pictures: int = 6,
        seed: int = 0,
        out: str = "faces.png",
    ) -> None:
        """Draw a sheet of faces of the built-in face space: a row per person.

        Args:
            show: pictures of each person, or what one of the face space's tools does with them.
            people: rows.
            pictures: columns, where `show` leaves them open.
            seed: another seed, other people.
            out: the picture to write, in a folder that exists; its ending says the format.
        """
        from facelesion.data.facespace import FaceSpace
        from facelesion.data.facespace_tools import draw_sheet

        place = Path(out)
        kind = _picture_format(place)
        sheet = draw_sheet(FaceSpace.load(), show, people, pictures, seed)
        _write_picture(place, sheet, kind)
        print(out)

    faces(**read_arguments(faces, argv, "facelesion faces"))


def _picture_format(path: Path) -> str:
    """The format that a picture's ending asks for, once it is known that the picture can be written there."""
    from PIL import Image

    if not path.parent.is_dir():
        raise FacelesionError(f"{path}: no folder {path.parent}: make it, or choose another place")
    if path.is_dir():
        raise FacelesionError(f"{path} is a folder: give a file in it, such as {path / 'faces.png'}")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise FacelesionError(f"{path}: {path.suffix or 'no ending'} is no kind of picture: end it in .png")
    return kind


def _write_picture(path: Path, pixels: npt.NDArray[np.uint8], kind: str) -> None:
    """Write pixels (H, W, 3), RGB, whole or not at all."""
    from PIL import Image

    from facelesion.report.run_folder import replace_file

    encoded = io.BytesIO()
    try:
        Image.fromarray(pixels).save(encoded, kind)
    except (OSError, ValueError) as error:  # formats that are read only, or take no colours
        raise FacelesionError(f"{path}: not written ({error}): end it in .png") from None
    replace_file(path, encoded.getvalue())


def _weights(argv: list[str]) -> None:
    def convert(
        file: str,
        to: str,
        top: bool = False,
        names: str | None = None,
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
        """
        from facelesion.models.convert import convert

        about = convert(file, to, top, names, colours, known_as, source_colours)
        parts = "fc7 is the representation" if top else "convolutions only"
        print(
            f"{to}: converted from {about['converted_from']} ({about['source_colour_order']}), "
            f"takes {about['colour_order']}, {parts}"
        )

    def verify(
        file: str,
        photograph: str | None = None,
        landmarks: Literal["mediapipe", "dlib", "mtcnn"] = "mediapipe",
        model: str | None = None,
    ) -> None:
        """Check a converted file: its layers, its statistics and, with a photograph of a face, the notebook's units.

        Args:
            file: the .safetensors file.
            photograph: a picture of one face, cut as widely as Labeled Faces in the Wild cuts them.
            landmarks: what finds the face's features.
            model: the backend's model file, such as face_landmarker.task.
        """
        from facelesion.faces.alone import features_alone
        from facelesion.models.verify import FEATURES, verify

        shown = None
        if photograph is not None:
            shown = features_alone(photograph, FEATURES, landmarks=landmarks, model=model)
        result = verify(file, shown)
        print(result)
        result.demand()

    def listing() -> None:
        """List the weights that facelesion knows of: name, state, size, licence."""
        from facelesion.models import registry

        for entry in registry.entries().values():
            found = entry.find()
            size = entry.size if found is None else found.stat().st_size
            shown = "size unknown" if size is None else f"{size / 1e6:.1f} MB"
            print(f"{entry.name:<26}{entry.state():<18}{shown:>13}  {entry.licence}")

    def fetch(name: str, to: str | None = None) -> None:
        """Fetch weights, and check that they are what they should be.

        Args:
            name: as `facelesion weights list` names them.
            to: the folder to put them in; by default $FACELESION_WEIGHTS, else the user's cache folder.
        """
        from facelesion.models import registry, store

        entry = registry.entry(name)
        file = registry.fetch(name, to)
        print(file)
        if entry.checksum is None and (noted := registry.recorded(file)) is not None:
            print(f"unchecked: nobody published its hash; held to {noted} from now on", file=sys.stderr)
        if entry.convert:
            if entry.convert != entry.file:
                print(f"unpack it: tar -xzf {file} -C {file.parent}", file=sys.stderr)
            place = store.weights_folder() / "vgg_face.safetensors"
            print(
                f"then: facelesion weights convert {file.parent / entry.convert} --to {place}",
                file=sys.stderr,
            )
        elif file.parent not in store.weights_folders():
            print(f"to have it found: FACELESION_WEIGHTS={file.parent}", file=sys.stderr)

    def path(name: str) -> None:
        """Tell where weights are, or what to put where.

        Args:
            name: as `facelesion weights list` names them.
        """
        from facelesion.models import registry

        print(registry.path(name))

    actions: dict[str, Callable[..., None]] = {
        "convert": convert,
        "verify": verify,
        "list": listing,
        "fetch": fetch,
        "path": path,
    }
    if not argv or argv[0] not in actions:
        raise FacelesionError(f"weights what? facelesion weights {'|'.join(actions)} ...")
    action = actions[argv[0]]
    action(**read_arguments(action, argv[1:], f"facelesion weights {argv[0]}"))


def _sites(argv: list[str]) -> None:
    def sites(model: str = "builtin") -> None:
        """Name the places in a network that can be damaged: module paths, and their aliases where they have one.

        Args:
            model: a model's name, or a file of weights.
        """
        from facelesion.lesions import aliases
        from facelesion.lesions import sites as list_sites
        from facelesion.models import get

        module = get(model).module
        names = {path: alias for alias, path in aliases(module).items()}
        for path in list_sites(module):
            print(f"{path}  {names[path]}" if path in names else path)

    sites(**read_arguments(sites, argv, "facelesion sites"))


def _unknown(name: str) -> None:
    raise FacelesionError(f"no command {name!r}: take one of {', '.join(COMMANDS)}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "study": _study,
    "report": _report,
    "prepare": _prepare,
    "faces": _faces,
    "weights": _weights,
    "sites": _sites,
}
