"""What the Keras notebook printed, number by number; `notebook_facts` says what it did.

Its confusion matrices were pictures. Each follows from the precision, recall and accuracy that it printed beside them,
of 2,647 pictures: no other four whole numbers give the same digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PICTURES = 2647  # in each of its five test sets: a fifth of LFW's 13,233
PARAMETERS = 14_715_201


@dataclass(frozen=True)
class Printed:
    """One cell of the notebook: a network tested on a copy of the data.

    Attributes:
        runs: accuracy of each of its runs, per cent.
        counts: pictures without a face that it called none and called one, with a face that it called none and one: the
            matrix that it plotted below. None where it plotted none.
        again: runs of the same cell, run a second time.
    """

    runs: tuple[float, ...]
    counts: tuple[int, int, int, int] | None = None
    again: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Of its runs, per cent."""
        return sum(self.runs) / len(self.runs)

    @property
    def precision(self) -> float:
        """As the notebook computes it: 0 where nothing is called a face."""
        assert self.counts is not None
        _, alarms, _, hits = self.counts
        return hits / (hits + alarms) if hits + alarms else 0.0

    @property
    def recall(self) -> float:
        """Of the faces, the share that is called one."""
        assert self.counts is not None
        _, _, misses, hits = self.counts
        return hits / (hits + misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def own_matrix(self) -> bool:
        """Whether the matrix is of the last run, as it should be: its accuracy is that run's."""
        assert self.counts is not None
        last = (self.again or self.runs)[-1]
        return abs(100 * (self.counts[0] + self.counts[3]) / sum(self.counts) - last) < 0.006


# By approach and stimulus. Two are not what they say: the mouth's of "no lesion" and of "noise" were asked with the
# nose's pictures. The first run of dropout on normal faces is lost in the text; it follows from the mean.
TESTS: Mapping[tuple[str, str], Printed] = {
    ("no lesion", "intact"): Printed((23.04, 50.4, 96.49, 96.41, 98.56), (1, 13, 25, 2608)),
    ("no lesion", "mask eyebrows"): Printed((97.24, 86.89, 3.7, 95.92, 24.22), (12, 3, 2003, 629)),
    ("no lesion", "mask eyes"): Printed((83.83, 25.39, 61.09, 29.88, 71.06), (2, 12, 754, 1879)),
    ("no lesion", "mask nose"): Printed((75.29, 38.87, 77.22, 77.18, 76.24), (3, 11, 618, 2015)),
    ("no lesion", "mask mouth"): Printed((99.43, 0.72, 56.37, 0.6, 94.3), (2, 12, 139, 2494)),
    ("ablation 1", "intact"): Printed((47.07, 88.06, 41.71, 37.44, 7.74), (13, 1, 2441, 192)),
    ("ablation 1", "mask eyebrows"): Printed(
        (0.83, 98.53, 32.0, 25.35, 72.53), (13, 2, 2551, 81),
        again=(35.4, 97.77, 24.1, 27.43, 3.55),
    ),
    ("ablation 1", "mask eyes"): Printed((94.11, 94.79, 46.88, 16.06, 18.21), (11, 3, 2164, 469)),
    ("ablation 1", "mask nose"): Printed((98.9, 0.98, 29.58, 68.42, 93.92), (1, 13, 148, 2485)),
    ("ablation 1", "mask mouth"): Printed((51.15, 73.59, 93.39), None),
    ("noise", "intact"): Printed((13.22, 86.48, 22.4, 67.17, 0.53), (14, 0, 2633, 0)),
    ("noise", "mask eyebrows"): Printed((31.24, 31.24, 31.24, 31.24, 31.24), (8, 7, 1813, 819)),
    ("noise", "mask eyes"): Printed((72.8, 72.8, 72.8, 72.8, 72.8), (4, 10, 710, 1923)),
    ("noise", "mask nose"): Printed((73.55, 73.55, 73.55, 73.55, 73.55), (14, 0, 2427, 206)),
    ("noise", "mask mouth"): Printed((13.07, 48.92, 82.32, 44.35, 87.68), (14, 0, 2427, 206)),
    ("dropout", "intact"): Printed((26.58, 5.93, 96.94, 73.82, 31.43), (9, 5, 1810, 823)),
    ("dropout", "mask eyebrows"): Printed((20.36, 52.81, 45.83, 3.4, 61.05), (5, 10, 1021, 1611)),
    ("dropout", "mask eyes"): Printed((63.47, 72.46, 15.04, 63.47, 86.78), (2, 12, 338, 2295)),
    ("dropout", "mask nose"): Printed((94.79, 92.82, 2.53, 40.01, 97.92), (1, 13, 42, 2591)),
    ("dropout", "mask mouth"): Printed((21.57, 5.67, 94.45, 59.88, 19.0), (17, 3, 2141, 486)),
    ("all three", "intact"): Printed((22.67,), (12, 2, 2045, 588)),
    ("all three", "mask eyebrows"): Printed((39.44,), (10, 5, 1598, 1034)),
    ("all three", "mask eyes"): Printed((33.28,), (8, 6, 1760, 873)),
    ("all three", "mask nose"): Printed((28.56,), (6, 8, 1883, 750)),
    ("all three", "mask mouth"): Printed((21.0,), (14, 6, 2085, 542)),
    ("conv5_3: units of eyebrows", "intact"): Printed((3.17, 90.18, 95.47, 99.06, 27.77), (8, 6, 1478, 1155)),
    ("conv5_3: units of eyes", "intact"): Printed((78.01, 12.01, 65.73, 1.74, 71.74), (5, 9, 739, 1894)),
    ("conv5_3: units of nose", "intact"): Printed((75.07, 33.02, 3.55, 88.18, 61.5), (3, 11, 1008, 1625)),
    ("conv5_3: units of mouth", "intact"): Printed((99.47, 44.77, 77.6, 36.38, 95.92), (2, 12, 96, 2537)),
    ("conv3_2: units of eyebrows", "intact"): Printed((87.16, 74.76, 9.41, 14.28, 99.09), (0, 14, 10, 2623)),
    ("conv3_2: units of eyes", "intact"): Printed((49.94, 77.3, 63.66, 40.54, 56.03), (4, 10, 1154, 1479)),
    ("conv3_2: units of nose", "intact"): Printed((17.15, 30.34, 90.29, 18.59, 96.11), (1, 13, 90, 2543)),
    ("conv3_2: units of mouth", "intact"): Printed((83.57, 58.9, 52.21, 0.72, 37.93), (8, 6, 1637, 996)),
    ("conv4_2: units of eyebrows", "intact"): Printed((96.3, 98.34, 94.33, 26.48, 17.3), (10, 4, 2185, 448)),
    ("conv4_2: units of eyes", "intact"): Printed((24.14, 92.41, 59.65, 20.7, 95.88), (1, 13, 96, 2537)),
    ("conv4_2: units of nose", "intact"): Printed((90.18, 2.64, 2.08, 67.62, 18.28), (11, 3, 2160, 473)),
    ("conv4_2: units of mouth", "intact"): Printed((40.46, 84.7, 14.96, 0.68, 97.13), (0, 14, 62, 2571)),
}

# Loss and accuracy in training, loss and accuracy in validation, of each epoch; of noise the last epoch is lost.
Log = tuple[tuple[float, float, float, float], ...]
CURVES: Mapping[str, Log] = {
    "no lesion": tuple(
        (loss, 0.9931, validation, 0.9981)
        for loss, validation in (
            (36393.7578, 0.5179), (0.4227, 0.3423), (0.2957, 0.2454), (0.2195, 0.1829), (0.1693, 0.1403),
            (0.1347, 0.1100), (0.1101, 0.0879), (0.0922, 0.0715), (0.0790, 0.0590), (0.0692, 0.0495),
        )
    ),
    "ablation 1": (
        (0.0908, 0.9933, 0.0353, 0.9958), (0.0648, 0.9934, 0.0365, 0.9958), (0.0752, 0.9934, 0.0303, 0.9958),
        (0.0484, 0.9934, 0.0292, 0.9958), (0.0452, 0.9934, 0.0350, 0.9958),
    ),
    "ablation 2": ((239.4181, 0.9902, 0.0783, 0.9921),),
    "noise": (
        (0.0408, 0.9934, 0.1974, 0.9921), (0.0407, 0.9934, 0.3783, 0.9921), (0.0402, 0.9934, 0.3867, 0.9921),
        (0.0402, 0.9934, 0.5008, 0.9921),
    ),
}  # fmt: skip

# Units that the notebook called responsible, in VGG-Face, of one photograph.
_CONV4_2 = (12, 47, 170, 198, 256, 275, 479)
_CONV3_2 = (2, 16, 104, 110, 142, 144, 205, 219, 225, 231, 238)
UNITS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("conv5_3", "eyebrows"): (21, 282), ("conv5_3", "eyes"): (282,), ("conv5_3", "nose"): (21, 282),
    ("conv5_3", "mouth"): (282,),
    **{("conv4_2", feature): _CONV4_2 for feature in ("eyebrows", "eyes", "nose", "mouth")},
    ("conv3_2", "eyebrows"): _CONV3_2, ("conv3_2", "nose"): _CONV3_2,
    ("conv3_2", "eyes"): tuple(unit for unit in _CONV3_2 if unit not in (142, 144)),
    ("conv3_2", "mouth"): tuple(unit for unit in _CONV3_2 if unit != 144),
}  # fmt: skip
