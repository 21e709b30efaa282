"""Products of matrices by the library that knows the processor.

PyTorch hands products of float32 to MKL, which computes at half the width that newer AMD processors have, and
convolutions to oneDNN, which computes at the whole: on such a processor (EPYC, family 26) its products were seen to be
twice as quick. Where PyTorch was built without oneDNN, its own products serve.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def product(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """rows (..., K) times matrix (O, K), turned over, plus bias (O,): as `functional.linear`, without gradients.

    Example:
        >>> rows, matrix = torch.rand(5, 3), torch.rand(4, 3)
        >>> torch.allclose(product(rows, matrix), rows @ matrix.T)
        True
    """
    if not by_onednn(rows, matrix):
        return functional.linear(rows, matrix, bias)
    answer: Tensor = torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], "")
    return answer


def by_onednn(*factors: Tensor) -> bool:
    """Whether oneDNN is there for these, and PyTorch would take another library."""
    return ONEDNN and all(each.device.type == "cpu" and each.dtype == torch.float32 for each in factors)


#: Whether this PyTorch can be asked for oneDNN's products.
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
