"""The command `facelesion train`, which is `python -m facelesion.train` too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facelesion.arguments import config_path, read_arguments, read_settings
from facelesion.errors import Error
from facelesion.outputs import writable_file, writable_folder
from facelesion.training.recipes import RECIPES, recipe_called

USAGE = """\
facelesion train --config FILE.yaml [--key value ...]

The config's `recipe` says what is trained:
{recipes}

`facelesion train --recipe NAME --help` lists a recipe's settings. What follows on the command line goes over the
config. A run that was stopped goes on with `--run.resume true`. `python -m facelesion.train` is the same.
"""


def usage() -> str:
    """What `--help` says."""
    return USAGE.format(recipes="\n".join(f"  {name:<13}{recipe.words}" for name, recipe in RECIPES.items()))


def train_command(argv: Sequence[str]) -> None:
    """Train as the words say; print the run's table, what was made, and its page."""
    words = list(argv)
    if words in (["-h"], ["--help"]):
        print(usage(), end="")
        return
    name = _named_recipe(words)
    recipe = recipe_called(name)
    configuration, work = recipe.parts()
    config = configuration(**read_arguments(configuration, words, "facelesion train", config=True))
    folder = writable_folder(config.run.folder, "run.folder")
    if getattr(config, "weights", None) is not None:
        writable_file(config.weights, "weights")
    made = work(config)

    from facelesion.training.page import table_in_words, write_page
    from facelesion.training.run import is_first

    if not is_first():  # of several processes that train together, one tells
        return
    if told := table_in_words(folder, recipe.table):
        print(told)
    print(made)
    page = folder / recipe.page if recipe.page else write_page(folder, name, recipe)
    if page != made:
        print(page)


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
    if not words:
        return None
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == "--config" and after:
            return config_path(after)
        if word.startswith("--config="):
            return config_path(word.partition("=")[2])
    return None if words[0].startswith("-") else config_path(words[0])
