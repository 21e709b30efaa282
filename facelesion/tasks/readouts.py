"""Readouts: what a task asks of a network's representation, fixed before any damage is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from facelesion.errors import Error


@dataclass(frozen=True, eq=False)
class LinearReadout:
    """Which class a representation shows: multinomial logistic regression, fitted once and then frozen.

    Attributes:
        classes: the names of the classes, sorted.
        weight: (classes, D).
        bias: (classes,).
    """

    classes: tuple[str, ...]
    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, representation: torch.Tensor) -> torch.Tensor:
        """Representation (N, D) to one logit per class (N, classes)."""
        return representation @ self.weight.T + self.bias

    def targets(self, labels: Sequence[str]) -> torch.Tensor:
        """Labels as class numbers (N,).

        Raises:
            Error: a label that the readout was never shown.
        """
        place = {name: number for number, name in enumerate(self.classes)}
        unknown = sorted(set(labels) - set(place))
        if unknown:
            raise Error(f"the readout was never shown {unknown[0]!r}: it knows {', '.join(self.classes)}")
        return torch.tensor([place[label] for label in labels])


def fit_linear_readout(
    representation: torch.Tensor, labels: Sequence[str], penalty: float = 1e-3
) -> LinearReadout:
    """Fit a linear readout on the healthy network's representation of training images.

    Features are centred and scaled by one common deviation while fitting, classes weigh alike however many images
    they have, and the loss is mean cross-entropy plus `penalty` / 2 times the squared weights. The problem is convex,
    so the answer depends on the data alone (scipy's L-BFGS).

    Args:
        representation: (N, D) float.
        labels: N class names, at least two different ones.
        penalty: strength of the ridge.

    Raises:
        Error: fewer than two classes, or a representation that is not finite.

    Example:
        >>> x = torch.tensor([[0.0, 1], [0, 2], [3, 0], [4, 0]])
        >>> readout = fit_linear_readout(x, ["face", "face", "other", "other"])
        >>> [readout.classes[i] for i in readout.logits(x).argmax(1)]
        ['face', 'face', 'other', 'other']
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax, softmax

    classes, target = np.unique(np.asarray(labels), return_inverse=True)
    if len(classes) < 2:
        raise Error(f"a readout needs two classes or more to tell apart, not {len(classes)}")
    x = representation.double().numpy()
    if not np.isfinite(x).all():
        raise Error("the healthy network's representation is not finite: check its weights and preprocessing")
    centre = x.mean(0)
    scale = max(float((x - centre).std()), 1e-12)
    x = (x - centre) / scale
    count = len(classes)
    one_hot = np.eye(count)[target]
    weight_of = (1 / np.bincount(target))[target] / count

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[:-count].reshape(count, x.shape[1]), flat[-count:]
        logits = x @ weight.T + bias
        residual = (softmax(logits, axis=1) - one_hot) * weight_of[:, None]
        log_likelihood = (one_hot * log_softmax(logits, axis=1)).sum(1)
        value = -(weight_of * log_likelihood).sum() + penalty / 2 * (weight**2).sum()
        gradient = residual.T @ x + penalty * weight
        return value, np.concatenate([gradient.ravel(), residual.sum(0)])

    start = np.zeros(count * (x.shape[1] + 1))
    flat = minimize(loss, start, jac=True, method="L-BFGS-B").x
    weight = flat[:-count].reshape(count, x.shape[1]) / scale
    bias = flat[-count:] - weight @ centre
    return LinearReadout(
        tuple(str(name) for name in classes),
        torch.from_numpy(weight).float(),
        torch.from_numpy(bias).float(),
    )


@dataclass(frozen=True, eq=False)
class Prototypes:
    """A memory of people or things: one unit vector each, the mean of the unit embeddings of its enrolment pictures.

    Attributes:
        names: who or what is known, sorted.
        vectors: (K, E), unit length.
    """

    names: tuple[str, ...]
    vectors: torch.Tensor

    @classmethod
    def learn(cls, embedding: torch.Tensor, labels: Sequence[str]) -> Prototypes:
        """Learn from embeddings (N, E) of pictures of `labels`.

        Raises:
            Error: fewer than two names.
        """
        names = sorted(set(labels))
        if len(names) < 2:
            raise Error(f"a memory needs two people or things or more, not {len(names)}")
        place = {name: number for number, name in enumerate(names)}
        who = torch.tensor([place[label] for label in labels])
        sums = torch.zeros(len(names), embedding.shape[1]).index_add_(0, who, unit_vectors(embedding))
        return cls(tuple(names), unit_vectors(sums))

    def likeness(self, embedding: torch.Tensor) -> torch.Tensor:
        """Cosine of every embedding (M, E) with every prototype (M, K)."""
        return unit_vectors(embedding) @ self.vectors.T

    def targets(self, labels: Sequence[str]) -> torch.Tensor:
        """Labels as positions among the names (N,).

        Raises:
            Error: a label that was never learned.
        """
        place = {name: number for number, name in enumerate(self.names)}
        strangers = sorted(set(labels) - set(place))
        if strangers:
            raise Error(
                f"{strangers[0]!r} is probed but was never enrolled: give each person pictures for both"
            )
        return torch.tensor([place[label] for label in labels])


def unit_vectors(embedding: torch.Tensor) -> torch.Tensor:
    """Embeddings (N, E) at length one. A dead network's zero vector stays zero: it resembles nobody."""
    return torch.nn.functional.normalize(embedding)
