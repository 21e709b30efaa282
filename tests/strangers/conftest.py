"""The zoo is a handful of modules beside these tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# Strangers about whom library and oracle, or library and table, do not agree yet, test by test: which is wrong there is
# still open. Everybody else is held.
OPEN = {
    "test_one_lesion_is_the_oracles": """
        AlwaysNoisy AttendsAcrossImages BatchDeviation Branches Centred CompiledInside DroppingBetweenLayers
        DroppingOut Experts FlatOutput Fourier GroupNorms Likeness LoudestImage OneByOne OwnOutput Parallel
        PerceiverLike Remembering RoutedExperts Scripted SharedBlock SharedReLU Shifted StillTraining UNet
        UnrolledCell UntilQuiet Upscaler Vmapped WeightReadByParent WithoutRunningStatistics WordsAndPlaces
        WritesInPlace
    """,
    "test_one_lesion_does_not_depend_on_the_batch": """
        Branches CompiledInside Experts FlatOutput Fourier GroupNorms OneByOne OwnOutput Parallel RoutedExperts
        Scripted SharedBlock UNet Upscaler Vmapped WeightReadByParent WordsAndPlaces WritesInPlace
    """,
    "test_lesions_share_a_batch_with_a_healthy_row": """
        Branches CompiledInside Experts FlatOutput Fourier OwnOutput Parallel PerceiverLike RoutedExperts
        Scripted SharedBlock SharedReLU UNet UnrolledCell UntilQuiet Upscaler Vmapped WeightReadByParent
        WritesInPlace
    """,
    "test_units_are_calibrated_as_a_reader_of_the_code_would": """
        BatchesOfOne Branches DroppingBetweenLayers InChunks OneByOne Parallel Siamese StillTraining Vmapped
        WeightReadByParent
    """,
    "test_gradients_are_the_oracles": """
        AlwaysNoisy DroppingOut
        AttendsAcrossImages Checkpointed CheckpointedReentrant Experts FlatOutput GroupNorms InChunks
        InPlaceAfterEverything InPlaceResidual Parallel Upscaler
    """,
    "test_every_lesion_of_a_sweep_is_the_oracles": """
        Branches CompiledInside Experts FlatOutput Fourier GroupNorms Interrupted Mirrored
        NamedAxes OneByOne OwnOutput Parallel PerceiverLike RoutedExperts Scripted SharedBlock SharedReLU UNet
        UnrolledCell UntilQuiet Upscaler Vmapped WeightReadByParent WordsAndPlaces WritesInPlace
    """,
    "test_without_each_unit_the_answer_is_the_oracles": """
        Branches CompiledInside Experts Fourier Frames Interrupted OwnOutput Parallel RoutedExperts Scripted
        SharedBlock UNet Upscaler Vmapped WeightReadByParent WritesInPlace
    """,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "strangers" not in item.path.parts or not isinstance(item, pytest.Function):
            continue
        item.add_marker(pytest.mark.slow)
        name = item.callspec.params.get("name") if hasattr(item, "callspec") else None
        if name in OPEN.get(item.originalname, "").split():
            item.add_marker(pytest.mark.skip(reason="open: docs/limitations.md says so"))
