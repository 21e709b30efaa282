"""The zoo is a handful of modules beside these tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


# Strangers about whom library and oracle, or library and table, do not agree yet: which of them is wrong is still open.
OPEN = """
    AlwaysNoisy AsManyPlacesAsImages AttendsAcrossImages BatchDeviation Branches Centred
    CompiledInside Dataclasses DroppingBetweenLayers DroppingOut Experts FlatOutput Fourier Frames
    GroupNorms Lazy Likeness LoudestImage OneByOne OwnOutput Parallel PerceiverLike Remembering
    ReplacedForward RoutedExperts Scripted SharedBlock SharedReLU Shifted StillTraining UNet
    UnrolledCell UntilQuiet Upscaler Vmapped WeightReadByParent WithoutRunningStatistics
    WordsAndPlaces WritesInPlace
""".split()
HELD = "test_one_lesion_is_the_oracles"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Held so far: one lesion at a time in a forward, for the strangers that are not open."""
    for item in items:
        if "strangers" not in item.path.parts or not isinstance(item, pytest.Function):
            continue
        item.add_marker(pytest.mark.slow)
        name = item.callspec.params.get("name") if hasattr(item, "callspec") else None
        if item.originalname != HELD or name in OPEN:
            item.add_marker(pytest.mark.skip(reason="not yet held to the oracle: docs/limitations.md"))
