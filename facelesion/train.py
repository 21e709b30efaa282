"""`python -m facelesion.train --config FILE.yaml [--key value ...]`: train a network by one of the recipes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from facelesion.arguments import config_path, read_arguments, read_settings
from facelesion.cli import guarded
from facelesion.errors import Error
from facelesion.outputs import writable_file, writable_folder
from facelesion.process import set_process_up
from facelesion.training.recipes import RECIPES, recipe_called

USAGE = """\
python -m facelesion.train --config FILE.yaml [--key value ...]

The config's `recipe` says what is trained:
{recipes}

`python -m facelesion.train --recipe NAME --help` lists a recipe's settings. What follows on the command line goes over
the config. A run that was stopped goes on with `--run.resume true`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the arguments say; the exit status: 0 done, 2 a mistake that its one line explains."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words in (["-h"], ["--help"]):
        told = "\n".join(f"  {name:<11}{recipe.words}" for name, recipe in RECIPES.items())
        print(USAGE.format(recipes=told), end="")
        return 0 if words else 2
    return guarded(lambda: _train(words))


def _train(words: list[str]) -> None:
    configuration, work = recipe_called(_named_recipe(words)).parts()
    config = configuration(**read_arguments(configuration, words, "python -m facelesion.train", config=True))
    writable_folder(config.run.folder, "run.folder")
    if getattr(config, "weights", None) is not None:
        writable_file(config.weights, "weights")
    print(work(config))


def _named_recipe(words: list[str]) -> str:
    """The recipe that the command line or the config names."""
    said = [word.partition("=")[2] for word in words if word.startswith("--recipe=")]
    if "--recipe" in words[:-1] or said:
        return said[-1] if said else words[words.index("--recipe") + 1]
    path = _config(words)
    if path is None:
        raise Error(
            "no recipe: give --config FILE.yaml (such as configs/train/builtin.yaml) or --recipe NAME"
        )
    recipe = read_settings(path).plain().get("recipe")
    if not isinstance(recipe, str):
        raise Error(f"{path}: says no `recipe:`, such as distil or classify: add that line")
    return recipe


def _config(words: list[str]) -> Path | None:
    """The config that the words name: after `--config`, joined to it by `=`, or as the first plain word."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--config" and after:
            return config_path(after)
        if word.startswith("--config="):
            return config_path(word.partition("=")[2])
    return None if words[0].startswith("-") else config_path(words[0])


if __name__ == "__main__":
    set_process_up()
    sys.exit(main())
