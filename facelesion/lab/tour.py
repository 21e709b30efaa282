"""The tour: six steps, each a state of the lab with what to look at."""

from __future__ import annotations

from dataclasses import dataclass

from facelesion.lab.state import IDENTITY, Damage, Picture, State


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        title, words: what it is about, and what to look at.
        state: what the page is set to.
        look: the part of the page that is pointed at.
        run: what is started as the step is entered: nothing, or the dose curve.
    """

    title: str
    words: str
    state: State
    look: str
    run: str = ""


_FACE = Picture(person=11, looks=(("smile", 0.6),))
_SITE = "conv4_3"
_SMALL = Damage(site=_SITE, dose=0.1, seed=1)
_LARGE = Damage(site=_SITE, dose=0.5, seed=1)
_CHOSEN = Damage(site=_SITE, dose=0.3, units="faces")

TOUR = (
    Step(
        "A face",
        "This face was drawn by a statistical model of faces; nobody's photograph is here. The network has seen other "
        "pictures of this person. It says two things: that there is a face, and whose. Try another person, "
        "or a smile.",
        State(picture=_FACE, damage=()),
        "face",
    ),
    Step(
        "Damage",
        "Now a tenth of the units of a deep layer are silent: their output is zero, whatever they are shown. Which "
        "ones was drawn by lot. Move the slider. Compare the healthy network's answers with those of the damaged one.",
        State(picture=_FACE, damage=(_SMALL,), site=_SITE),
        "damage",
    ),
    Step(
        "What is lost, and what is spared",
        "With half of the units gone the network still sees a face, and takes it for somebody else's. The second "
        "picture shows another person: in health they are two, now they are one. People with prosopagnosia tell of "
        "this: they see that there is a face, and not whose.",
        State(picture=_FACE, damage=(_LARGE,), second="other", map_of=IDENTITY, site=_SITE),
        "left",
    ),
    Step(
        "Dose",
        "One damaged network on one face is an anecdote. The curve asks about all forty people, at growing doses. Each "
        "task has its own way down: a task that starts at its ceiling hides early losses.",
        State(picture=_FACE, damage=(_SMALL,), second="other", site=_SITE),
        "curve",
        "curve",
    ),
    Step(
        "Chosen units against random ones",
        "Here the units that answer to faces more than to things are gone. Is that worse than as many at random? The "
        "grey band is what random lesions as large do, twelve of them. Look for tasks whose line leaves the band, and "
        "for those whose line stays: only the first say something about these units.",
        State(picture=_FACE, damage=(_CHOSEN,), second="other", site=_SITE),
        "curve",
        "curve",
    ),
    Step(
        "What it does not show",
        "A network is no brain, one network no sample, and a layer no area of cortex. That damage here hurts a task "
        "does not mean that the task is done here. The networks trained alike, more draws, other tasks and matched "
        "controls belong to it: take the study with you, and run it.",
        State(picture=_FACE, damage=(_CHOSEN,), second="other", site=_SITE),
        "out",
    ),
)
