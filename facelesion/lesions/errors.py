"""What can go wrong with a lesion. Every message says what, where, and how to mend it."""

from facelesion.errors import Error


class LesionError(Error):
    """A lesion that cannot do what it says; the base of all errors here, and raised itself for a bad value."""


class NoSuchSite(LesionError):
    """A site pattern matches no module of this network."""


class NoSuchUnit(LesionError):
    """A unit number is outside the site, or a dose is too small to reach one unit."""


class LesionDidNotAct(LesionError):
    """A forward ran, and a chosen site never did: the answers are those of a healthy network."""


class IgnoredByCompile(LesionError):
    """The model is compiled: a new hook would be ignored without a word."""


class NoCalibration(LesionError):
    """The lesion is relative to a site's activations, and nobody measured them."""


class RowsDoNotDivide(LesionError):
    """The rows of a batch cannot be shared out among the lesions, or among the given image numbers."""
