"""What each part of the notebook did, what differs here and why; and its faults, each with what is done in its "
"place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One of the notebook's parts.

    Attributes:
        number: its place in the notebook.
        title: what it is about.
        did: what the notebook did, with its numbers.
        here: what is done here in its place, and why.
    """

    number: int
    title: str
    did: str
    here: str


PARTS = (
    Part(
        1, "Data",
        "Downloads LFW (13,233 photographs of 5,749 people) and unpacks the archive wherever its file names lead.",
        "Photographs are read inside the archive or a folder; without any, people of the built-in face space are "
        "drawn. "
        "The pictures have a hash that every number carries.",
    ),
    Part(
        2, "Landmarks",
        "dlib's frontal detector on the photograph squeezed to 224 × 224, 68 points, the first face only.",
        "MediaPipe by default (dlib and MTCNN can be chosen), on the photograph as it is; of several faces the central "
        "one. Faces are aligned before anything is masked. The face space's landmarks are exact.",
    ),
    Part(
        3, "Regions",
        "By number among the 68 points: eyebrows 17–26, eyes 36–47 (both in one region), nose 27–35, mouth 48–67.",
        "The same four regions. The eyes' box goes around the lids, and each eyebrow has a box of its own, for the box "
        "around both covers the bridge of the nose.",
    ),
    Part(
        4, "Mask a feature",
        "The smallest rotated box around the region's points, made larger (width × height: eyebrows 1.2 × 1.5, eyes "
        "and "
        "mouth 1.4 × 1.2, nose 1.2 × 1.4) and filled black.",
        "The same factors. Width is along the line between the eyes; OpenCV's depends on its convention of angles, so "
        "that “1.4 × wide” is sometimes 1.4 × high.",
    ),
    Part(
        5, "Blur a feature",
        "The same box, blurred by a Gaussian of 51 × 51 pixels. Defined, and never called.",
        "A stimulus like any other; it can be asked for in every study.",
    ),
    Part(
        6, "One feature alone",
        "The upright box around a region × 1.5 stays, everything else is blurred by a Gaussian of 21 × 21 pixels.",
        "The same, along the line between the eyes. Such a blur leaves most of the face to be seen; the second sheet "
        "covers the rest instead, which leaves the feature alone.",
    ),
    Part(
        7, "Data sets",
        "Five copies of LFW on disk: normal and four masked. The label is 1 where a face and all four features were "
        "found: 99.3 % of all. Where no face is found, the masked copies keep the photograph before under this name.",
        "Nothing is copied: masks are laid on batch by batch. Half of the pictures show no face (objects, textures, "
        "scrambled faces), and they are masked like the faces. A photograph without a face is left out, and named.",
    ),
    Part(
        8, "Split",
        "Each copy is split by itself, 20 % test and a tenth of the rest validation: a photograph that one copy "
        "tests is "
        "trained on in another, and so is nearly everybody.",
        "One split for all stimuli. Detection has nobody in two parts. Who is to be identified has to be known by some "
        "pictures; the others are asked about, and nobody of them trains the network's layers.",
    ),
    Part(
        9, "Network",
        "VGG-Face's VGG16 at 224 × 224, without its top, global average, one sigmoid unit: 14,715,201 parameters, all "
        "trained.",
        "The same thirteen layers with the same names. The network that comes with facelesion is a quarter as wide, "
        "for "
        "112 × 112; VGG-Face itself can be given with --network. A readout has one unit for detection, and one per "
        "person.",
    ),
    Part(
        10, "Training",
        "Adam at 0.001, batches of 20, 10 epochs; the damaged networks 5 epochs of 32. The undamaged network says "
        "“face” to everything from the first epoch to the last, and so do the damaged ones.",
        "The undamaged network learns a readout alone, on healthy features: it is fixed before any damage. Damaged "
        "networks learn with the damage in place, on masked pictures, and are tested before that and after.",
    ),
    Part(
        11, "Metrics",
        "Precision, recall, F1 and a 2 × 2 matrix, of the last of five runs alone. Its matrices were pictures; here "
        "they "
        "follow from the numbers printed beside them. Some belong to another run than the accuracy above them.",
        "The same, of all draws together; for identification the matrix of who was taken for whom. Intervals stand "
        "with "
        "the accuracies (parts 13 to 18).",
    ),
    Part(
        12, "Grad-CAM",
        "Heat maps at six early, three middle and three late layers, of one face, normal and masked four ways, for the "
        "one answer the network has; each map in its own colours from 0 to 1, so that “how much” is lost.",
        "The same twelve layers and five stimuli, for the same answer, on one scale for each layer; then for the "
        "face’s "
        "own identity, healthy and damaged. Below them the check that maps must pass: with weights that nobody "
        "trained, "
        "they must change.",
    ),
    Part(
        13, "Baseline tests",
        "The undamaged network on normal faces and on each mask, five runs. The network is built anew before every "
        "run, "
        "so its readout is random: single runs lie between 0.6 and 99.4 %.",
        "The undamaged network with the readout that it learned. It is asked who it is as well.",
    ),
    Part(
        14, "Deficit data",
        "Meant: the four masked training sets together, shuffled, 10,000 kept. Done: the indices run over one set, so "
        "it is masked eyes alone, 9,527 of them.",
        "All four masks, mixed, of people whom nobody asks about.",
    ),
    Part(
        15, "Approach 1: ablation",
        "Layers set to zero: conv4_3, conv5_1, conv5_2, conv5_3; then conv3_2, conv4_2, conv5_3 (broken off, never "
        "tested). A layer is compared with a string, so nothing is ever zeroed.",
        "Half of each layer’s units: whole layers of a chain set to zero leave nothing. The units are drawn several "
        "times.",
    ),
    Part(
        16, "Approach 2: noise",
        "Gaussian noise of 0.8 on conv3_2, conv4_2, conv5_3, whose values lie in the hundreds; and Keras’ noise acts "
        "in "
        "training only. On eyebrows, eyes and nose one network is asked five times.",
        "0.8 of each unit’s own standard deviation, in tests too.",
    ),
    Part(
        17, "Approach 3: dropout",
        "0.8 on conv4_3, conv5_1, conv5_2, conv5_3; in Keras it acts in training only, and this network was never "
        "trained.",
        "It acts in tests, and the network is trained with it as the others are.",
    ),
    Part(
        18, "Approach 4: all three",
        "Ablation of conv3_2, conv4_3, conv5_3 with the noise and the dropout of approaches 2 and 3; never trained, "
        "and "
        "tested once.",
        "All of it acts.",
    ),
    Part(
        19, "Responsible units",
        "Mean activation of each unit over one photograph’s features alone; who reaches 0.75 of the largest mean is "
        "responsible. The same units come out for nearly every feature.",
        "The same rule over many faces, and beside it the rule corrected for how active a unit is at all. What is "
        "shared by every feature is activity, not the feature.",
    ),
    Part(
        20, "Manipulated units",
        "Adds 0.0 to the first responsible unit of conv5_3, conv3_2 or conv4_2 (a zip stops after one), and asks an "
        "untrained readout about normal faces.",
        "All of a set’s units are excited and inhibited by several of their own standard deviations, beside as many "
        "other units.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What was wrong in the notebook, in which part it shows, and what is done here."""

    what: str
    part: int
    here: str


FAULTS = (
    Fault("No lesion ever acted.", 15, "A lesion whose place never runs is an error; lesions act in tests."),
    Fault(
        "Every test used an untrained readout.", 13,
        "Readouts are learned on the healthy network and frozen before any damage.",
    ),
    Fault(
        "The task cannot fail: 99.3 % of the labels are “face”.", 7,
        "Half of the pictures show no face, and it is asked who it is.",
    ),
    Fault("Whole layers of a chain are zeroed.", 15, "Damage has a dose: half of each layer’s units here."),
    Fault("Noise of 0.8 beside values in the hundreds.", 16, "Doses are in each unit’s own standard deviations."),
    Fault(
        "No controls, no intervals.", 20,
        "Intervals over people and draws; as many other units beside the chosen ones.",
    ),
    Fault("Five splits: the test leaks into training.", 8, "One split; nobody tested trains a layer."),
    Fault("Labels may be misaligned with pictures.", 7, "A picture carries its label, its name and its number."),
    Fault(
        "Colours and preprocessing differ from step to step.", 9,
        "A network carries its own preprocessing, and its weights say which colours they take.",
    ),
    Fault("A box’s width and height depend on a convention of angles.", 4, "Width is along the line between the eyes."),
    Fault(
        "The mouth was asked with the nose’s pictures; a broken cell counts as a result.", 13,
        "Each stimulus is asked with its own pictures, and every cell is filled.",
    ),
    Fault("Five arrays of 2 GB in memory.", 7, "Masks are laid on as batches go by."),
    Fault("The deficit data are masked eyes alone.", 14, "All four masks."),
    Fault("Manipulation reaches one unit, by 0.0, and could be trained away.", 20, "Every unit of a set is moved."),
    Fault(
        "Pictures and variables of an earlier cell are used again.", 11, "Each number names what it was measured on.",
    ),
)  # fmt: skip
