"""The one error that is the user's to mend."""


class FacelesionError(ValueError):
    """A mistake that whoever typed the command or wrote the config can mend.

    Its message is one line that says what is wrong, where, and how to mend it. The command line prints
    that line without a traceback and leaves with exit status 2.
    """
