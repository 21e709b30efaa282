"""What is planned on the host, in real numbers, whatever a network runs on."""

from __future__ import annotations

import contextlib

import torch
from torch.utils._python_dispatch import _disable_current_modes


def on_the_host() -> contextlib.AbstractContextManager[object]:
    """While this lasts, tensors are real and on the processor, also where a network is run with made-up ones.

    PyTorch's fake tensors have shapes and devices and no values; which units are damaged is a value.
    """
    stack = contextlib.ExitStack()
    stack.enter_context(_disable_current_modes())
    stack.enter_context(torch.device("cpu"))
    return stack
