"""The errors that are the user's to mend: one tree, and `except facelesion.Error` catches all of it.

    Error                        what a command, a file of settings or a call asks for cannot be done
    +-- SettingError             a setting's value cannot be; says its key and, of a file, the line
    +-- LesionError              a lesion that cannot do what it says
    |   +-- NoSuchSite           a site's name or pattern matches no module of the network
    |   +-- NoSuchUnit           a unit outside its site, or a dose too small to reach one
    |   +-- LesionDidNotAct      a forward ran and a chosen site did not
    |   +-- IgnoredByCompile     the network is compiled, and would not call the lesion
    |   +-- NoCalibration        the lesion is relative to activations that nobody measured
    |   +-- RowsDoNotDivide      the rows of a batch cannot be shared out among lesions or image numbers
    |   +-- EitherAxis           two axes could count images, and nothing says which one does
    +-- SweepError               a sweep that cannot be run as asked
    +-- NotInstalled             a package that no extra has brought; says which one does

Each class is defined in the room that raises it; this module knows none of them, and imports nothing.
"""


class Error(ValueError):
    """What the user can mend: a mistake in a command, in a file of settings, or in a call.

    Its message is one line that says what is wrong, where, and how to mend it. The command line prints
    that line without a traceback and leaves with exit status 2.

    Example:
        >>> import facelesion
        >>> try:
        ...     facelesion.Ablate("conv5_3", fraction=2)
        ... except facelesion.Error as error:
        ...     print(error)
        Ablate at 'conv5_3': fraction must lie in 0 to 1, got 2.0
    """


def one_line(said: object) -> str:
    """What an error (or anything) says, on one line.

    Example:
        >>> one_line(OSError("no room:\\n  make some"))
        'no room: make some'
    """
    return " ".join(str(said).split())


#: What to say of a `RuntimeError` that is `no_way_back`.
NO_WAY_BACK = (
    "no gradient leads back through the network: it changes in place what its own backward pass needs, as += after a "
    "sigmoid or ReLU does: let that step make a new tensor"
)


def no_way_back(error: RuntimeError) -> bool:
    """Whether PyTorch cannot go backward through a network because that changes values in place.

    Example:
        >>> import torch
        >>> y = torch.ones(2, requires_grad=True).sigmoid()
        >>> try:
        ...     y.add_(1).sum().backward()
        ... except RuntimeError as error:
        ...     no_way_back(error)
        True
    """
    return "modified by an inplace operation" in str(error)
