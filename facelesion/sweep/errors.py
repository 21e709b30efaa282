"""What a sweep can complain of."""

from facelesion.errors import Error


class SweepError(Error):
    """A sweep that cannot be run as asked; its message is one line that says what is wrong and how to mend it."""
