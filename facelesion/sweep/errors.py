"""What a sweep can complain of."""


class SweepError(ValueError):
    """A sweep that cannot be run as asked; its message is one line that says what is wrong and how to mend it."""
