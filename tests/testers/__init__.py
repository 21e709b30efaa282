"""One tester for each kind of thing that can be added: the checks that all of its like pass.

A tester is a class; whoever adds a thing subclasses it and gives `rows`, a name and the thing:

    class TestSaturate(LesionTester):
        rows = {"saturate": Saturate("conv5_1", level=0.5)}

The package's own stand in `tests/lesions/test_kinds.py`, `tests/faces/test_stimuli.py`, `tests/tasks/test_tasks.py`,
`tests/models/test_zoo.py` and `tests/test_formats.py`; a test beside each fails where one has no row.
"""

from .formats import Format, FormatTester
from .lesions import LesionTester
from .networks import PHOTOGRAPHS, Network, NetworkTester
from .stimuli import StimulusTester, made_up_faces, smooth_pictures
from .tasks import Asked, TaskTester, many_people, small_materials

__all__ = [
    "PHOTOGRAPHS",
    "Asked",
    "Format",
    "FormatTester",
    "LesionTester",
    "Network",
    "NetworkTester",
    "StimulusTester",
    "TaskTester",
    "made_up_faces",
    "many_people",
    "small_materials",
    "smooth_pictures",
]
