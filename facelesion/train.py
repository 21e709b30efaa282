"""`python -m facelesion.train --config FILE.yaml [--key value ...]`: train a network by one of the recipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facelesion.cli import config_path, guarded, read_arguments
from facelesion.errors import FacelesionError
from facelesion.threads import wait_asleep

USAGE = """\
python -m facelesion.train --config FILE.yaml [--key value ...]

The config's `recipe` says what is trained:
  distil     a small VGG16 learns identity from MobileFaceNet (configs/train/builtin.yaml)
  classify   a network and a readout learn "face or not" or who it is, healthy or damaged (configs/notebook/*.yaml)
  recovery   injuries one after the other, with retraining after each (configs/train/recovery.yaml)
  notebook   the whole Keras notebook, as it was or as it should have been (configs/notebook/as_it_was.yaml, right.yaml)

`python -m facelesion.train --recipe NAME --help` lists a recipe's settings. What follows on the command line goes over
the config. A run that was stopped goes on with `--run.resume true`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the arguments say; the exit status: 0 done, 2 a mistake that its one line explains."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0 if words else 2
    return guarded(lambda: _train(words))


def _train(words: list[str]) -> None:
    configuration, work = _recipe(_named_recipe(words))
    values = read_arguments(configuration, _with_config(words), "python -m facelesion.train", config=True)
    print(work(configuration(**values)))


def _recipe(name: str) -> tuple[Callable[..., Any], Callable[[Any], Path]]:
    if name == "distil":
        from facelesion.training.distil import DistilConfig, distil

        return DistilConfig, distil
    if name == "classify":
        from facelesion.training.classify import ClassifyConfig, classify

        return ClassifyConfig, classify
    if name == "recovery":
        from facelesion.training.recovery import RecoveryConfig, recovery

        return RecoveryConfig, recovery
    if name == "notebook":
        from facelesion.training.notebook import NotebookConfig, notebook

        return NotebookConfig, notebook
    raise FacelesionError(f"no recipe is called {name!r}: take distil, classify, recovery or notebook")


def _named_recipe(words: list[str]) -> str:
    """The recipe that the command line or the config names."""
    import yaml

    if "--recipe" in words[:-1]:
        return words[words.index("--recipe") + 1]
    path = _config(words)
    if path is None:
        raise FacelesionError(
            "no recipe: give --config FILE.yaml (such as configs/train/builtin.yaml) or --recipe NAME"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise FacelesionError(f"{path}: not a YAML file that can be read ({reason})") from None
    recipe = content.get("recipe") if isinstance(content, dict) else None
    if not isinstance(recipe, str):
        raise FacelesionError(f"{path}: says no `recipe:`, such as distil or classify: add that line")
    return recipe


def _config(words: list[str]) -> Path | None:
    return config_path(words[words.index("--config") + 1]) if "--config" in words[:-1] else None


def _with_config(words: list[str]) -> list[str]:
    """The words with the config as a plain path first, as `read_arguments` wants it."""
    path = _config(words)
    if path is None:
        return words
    place = words.index("--config")
    return [str(path), *words[:place], *words[place + 2 :]]


if __name__ == "__main__":
    wait_asleep()
    sys.exit(main())
