"""The lesion that a command is given: in a few words, or in a file as the library writes lesions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from facelesion.errors import Error
from facelesion.lesions import Lesion, LesionError, Series, lesion_of_words
from facelesion.yaml_files import read_yaml


def lesion_of(given: str) -> Lesion:
    """A lesion from words such as "ablate 20% of conv5_3", or from a YAML file.

    A file holds one lesion, or the parts of one in a list, as studies and `Lesion.to_dict` write them.

    Raises:
        Error: words or a file that are no lesion, or a file with several doses.

    Example:
        >>> str(lesion_of("noise 0.8 on conv3_2"))
        'noise std 0.8 at conv3_2'
    """
    path = Path(given)
    if path.suffix.lower() not in (".yaml", ".yml") and not (path.name != given and path.is_file()):
        return lesion_of_words(given)
    tree = read_yaml(path).plain()
    parts = tree.get("parts", tree) if isinstance(tree, Mapping) and tree.get("kind") == "Compound" else tree
    try:
        series = Series.from_list(parts)
    except LesionError as error:
        raise Error(f"{given}: {error}") from None
    if len(series) > 1:
        raise Error(f"{given}: {len(series)} doses: give each field one value, for one lesion is looked at")
    return series.steps[0]
