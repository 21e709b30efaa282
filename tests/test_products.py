"""Float32 is computed in full where that is promised, whatever was set before and by which of PyTorch's two ways."""

from __future__ import annotations

import pytest
import torch

from facelesion.products import float32_products, rounds

BACKENDS = torch.backends
SETTINGS = {
    "as PyTorch comes": lambda: None,
    "products rounded": lambda: torch.set_float32_matmul_precision("high"),
    "products in half precision": lambda: torch.set_float32_matmul_precision("medium"),
    "convolutions exact": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "all rounded, by the newer way": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
    "all exact, by the newer way": lambda: setattr(BACKENDS, "fp32_precision", "ieee"),
    "convolutions alone, by the newer way": lambda: setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
}


def told() -> list[object]:
    """All that PyTorch says of it; None for what it refuses to say."""
    asked = [
        torch.get_float32_matmul_precision, lambda: BACKENDS.cudnn.allow_tf32, lambda: BACKENDS.cuda.matmul.allow_tf32,
        lambda: BACKENDS.cudnn.conv.fp32_precision, lambda: BACKENDS.cudnn.rnn.fp32_precision,
        lambda: BACKENDS.cuda.matmul.fp32_precision,
    ]  # fmt: skip

    def answer(ask):
        try:
            return ask()
        except RuntimeError:
            return None

    return [answer(ask) for ask in asked]


@pytest.fixture
def as_pytorch_comes():
    """What a test sets is undone after it: in a fresh process it is all PyTorch's own."""
    yield
    if hasattr(BACKENDS, "fp32_precision"):
        BACKENDS.fp32_precision = "none"
    BACKENDS.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("rounded", [False, True])
def test_within_it_is_as_asked_and_afterwards_as_before(name, rounded, as_pytorch_comes):
    if "newer" in name and not hasattr(BACKENDS, "fp32_precision"):
        pytest.skip("this PyTorch has one way only")
    SETTINGS[name]()
    before = told()
    with pytest.raises(ZeroDivisionError), float32_products(rounded):
        assert rounds() is rounded
        raise ZeroDivisionError
    assert told() == before


def test_one_within_another_has_the_word(as_pytorch_comes):
    with float32_products():
        with float32_products(rounded=True):
            assert rounds()
        assert not rounds()


def test_a_model_that_asks_within_is_told(as_pytorch_comes):
    """PyTorch's compiler asks, and so do its switches for single operations."""
    with float32_products():
        assert None not in told()
        with BACKENDS.cudnn.flags(enabled=False, allow_tf32=False):
            assert not rounds()
        assert not rounds()
