"""What a sweep can complain of."""

from facelesion.errors import Error


class SweepError(Error):
    """A sweep that cannot be run as asked; its message is one line that says what is wrong and how to mend it.

    Example:
        >>> import torch
        >>> from facelesion.sweep import sweep
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout()).train()
        >>> sweep(network, {"none": None}, torch.rand(4, 3))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        facelesion.sweep.errors.SweepError: 1 (Dropout) is in training mode, so no two runs agree: ...
    """
