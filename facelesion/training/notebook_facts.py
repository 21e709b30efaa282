"""What the Keras notebook did and printed, part by part; the digest of it is the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FEATURES = ("eyebrows", "eyes", "nose", "mouth")
MASKED = tuple(f"mask {feature}" for feature in FEATURES)
INTACT = "intact"
STIMULI = (INTACT, *MASKED)
HEALTHY = "no lesion"
# What the notebook printed, in per cent, for each of STIMULI in turn; what it did not run or broke off is left out. It
# tested manipulated units on intact faces alone.
PRINTED: Mapping[str, tuple[float | None, ...]] = {
    HEALTHY: (72.98, 61.59, 54.25, 68.96, 50.28),
    "ablation 1": (44.40, 45.85, 54.01, 58.36, None),
    "noise": (37.96, 31.24, 72.80, 73.55, 55.27),
    "dropout": (46.94, 36.69, 60.24, 65.61, 40.11),
    "all three": (22.67, 39.44, 33.28, 28.56, 21.00),
    "conv5_3: units of eyebrows": (63.13,),
    "conv5_3: units of eyes": (45.85,),
    "conv5_3: units of nose": (52.26,),
    "conv5_3: units of mouth": (70.83,),
    "conv3_2: units of eyebrows": (56.94,),
    "conv3_2: units of eyes": (57.49,),
    "conv3_2: units of nose": (50.49,),
    "conv3_2: units of mouth": (46.66,),
    "conv4_2: units of eyebrows": (66.55,),
    "conv4_2: units of eyes": (58.56,),
    "conv4_2: units of nose": (36.16,),
    "conv4_2: units of mouth": (47.59,),
}
AS_IT_WAS, DAMAGED, TRAINED = "as it was", "damaged", "trained with the damage"
MANIPULATED, CONTROL = "responsible units", "as many other units"


@dataclass(frozen=True)
class Done:
    """What the notebook did with one kind of damage.

    Attributes:
        epochs: whole epochs of training; 0: the network was never trained.
        runs: tests of each stimulus that it finished; None for as many as it meant to (five).
        fewer: stimuli of which it finished fewer.
        one_readout: stimuli that one network answered every time, so that the "runs" are one.
        nose_for_mouth: the mouth is tested on pictures without a nose.
    """

    epochs: int | None = None
    runs: int | None = None
    fewer: Mapping[str, int] = field(default_factory=dict)
    one_readout: tuple[str, ...] = ()
    nose_for_mouth: bool = False


# By the approaches' names in `configs/notebook/as_it_was.yaml`; an approach of another name is done whole.
DONE: Mapping[str, Done] = {
    HEALTHY: Done(nose_for_mouth=True),
    "ablation 1": Done(fewer={"mask mouth": 3}),  # interrupted
    "ablation 2": Done(epochs=1, runs=0),  # broken off in its second epoch, never tested
    "noise": Done(one_readout=("mask eyebrows", "mask eyes", "mask nose"), nose_for_mouth=True),
    "dropout": Done(epochs=0),
    "all three": Done(epochs=0, runs=1),
}
# The deficit data, meant to be four masked copies together, were the first rows of the first: masked eyes alone.
DEFICIT = "mask eyes"
