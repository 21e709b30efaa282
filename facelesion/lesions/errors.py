"""What can go wrong with a lesion. Every message says what, where, and how to mend it."""

from facelesion.errors import Error


class LesionError(Error):
    """A lesion that cannot do what it says; the base of all errors here, and raised itself for a bad value.

    Example:
        >>> from facelesion.lesions import Noise
        >>> Noise("conv3_2", std=-1)
        Traceback (most recent call last):
        facelesion.lesions.errors.LesionError: Noise at 'conv3_2': std must be 0 or more, got -1.0
    """


class NoSuchSite(LesionError):
    """A site pattern matches no module of this network.

    Example:
        >>> import torch
        >>> from facelesion.lesions import Ablate, lesioned
        >>> with lesioned(torch.nn.Sequential(torch.nn.Linear(2, 3)), Ablate("O", units=[1])):  # doctest: +ELLIPSIS
        ...     pass
        Traceback (most recent call last):
        facelesion.lesions.errors.NoSuchSite: no site 'O' in Sequential: ...
    """


class NoSuchUnit(LesionError):
    """A unit number is outside the site, or a dose is too small to reach one unit.

    Example:
        >>> import torch
        >>> from facelesion.lesions import Ablate, lesioned
        >>> with lesioned(torch.nn.Sequential(torch.nn.Linear(2, 3)), Ablate("0", units=[3])) as network:
        ...     network(torch.ones(1, 2))
        Traceback (most recent call last):
        facelesion.lesions.errors.NoSuchUnit: 0 has 3 units, numbered from 0: there is no unit 3
    """


class LesionDidNotAct(LesionError):
    """A forward ran, and a chosen site never did: the answers are those of a healthy network.

    Example:
        >>> import torch
        >>> from facelesion.lesions import Ablate, lesioned
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
        >>> with lesioned(network, Ablate("1", units=[0])):  # doctest: +ELLIPSIS
        ...     network[0](torch.ones(1, 2))
        Traceback (most recent call last):
        facelesion.lesions.errors.LesionDidNotAct: no forward of Sequential was seen, so the lesion ...
    """


class IgnoredByCompile(LesionError):
    """The model is compiled: a new hook would be ignored without a word.

    Example:
        >>> import torch
        >>> from facelesion.lesions import Ablate, lesioned
        >>> network = torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 3)))
        >>> with lesioned(network, Ablate("0", units=[0])):  # doctest: +ELLIPSIS
        ...     pass
        Traceback (most recent call last):
        facelesion.lesions.errors.IgnoredByCompile: this Sequential is compiled and may ignore a ...
    """


class NoCalibration(LesionError):
    """The lesion is relative to a site's activations, and nobody measured them.

    Example:
        >>> import torch
        >>> from facelesion.lesions import Noise, lesioned
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 3))
        >>> with lesioned(network, Noise("0", std=1, relative=True)):  # doctest: +ELLIPSIS
        ...     network(torch.ones(1, 2))
        Traceback (most recent call last):
        facelesion.lesions.errors.NoCalibration: noise std 1 relative at 0: '0' is not calibrated: ...
    """


class RowsDoNotDivide(LesionError):
    """The rows of a batch cannot be shared out among the lesions, or among the given image numbers.

    Example:
        >>> import torch
        >>> from facelesion.lesions import Ablate, lesioned
        >>> lesions = [Ablate("0", units=[0]), Ablate("0", units=[1]), None]
        >>> with lesioned(torch.nn.Sequential(torch.nn.Linear(2, 3)), lesions) as network:  # doctest: +ELLIPSIS
        ...     network(torch.ones(4, 2))
        Traceback (most recent call last):
        facelesion.lesions.errors.RowsDoNotDivide: 0: 4 rows cannot be shared out among 3 lesions: ...
    """
