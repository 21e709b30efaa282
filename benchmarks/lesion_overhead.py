"""What a lesion costs: a ten-unit ablation of VGG16 against the same hook written by hand, and the import.

    python benchmarks/lesion_overhead.py

Processor time of this process is measured, not the clock on the wall, and the two take turns, so that other work on
the machine weighs on both alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from facelesion.lesions import Ablate, lesioned

UNITS = [3, 17, 50, 101, 150, 203, 266, 301, 404, 511]


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def overhead(batch: int, size: int, rounds: int) -> tuple[float, float]:
    """Median seconds of a forward under the hand-written hook, and under the library."""
    from torchvision.models import vgg16

    model = vgg16(weights=None).eval()
    images = torch.randn(batch, 3, size, size)

    def by_hand(module: object, inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, UNITS] = 0
        return output

    def plain() -> Tensor:
        handle = model.features[22].register_forward_hook(by_hand)
        answer = model(images)
        handle.remove()
        return answer

    def ours() -> Tensor:
        with lesioned(model, Ablate("conv4_3", units=UNITS)):
            return model(images)

    with torch.no_grad():
        assert torch.equal(plain(), ours())
        times = [(seconds(plain), seconds(ours)) for _ in range(rounds)]
    return statistics.median(p for p, _ in times), statistics.median(o for _, o in times)


def import_cost(rounds: int) -> float:
    """Seconds that `import facelesion.lesions` takes beyond `import torch`."""

    def once(code: str) -> float:
        program = f"import time, torch; s = time.process_time(); {code}; print(time.process_time() - s)"
        return float(
            subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        )

    return min(once("import facelesion.lesions") for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"import: {import_cost(3) * 1000:.0f} ms beyond torch (at most 50)")
    plain, ours = overhead(args.batch, args.size, args.rounds)
    print(f"forward, {args.batch} × {args.size} px: by hand {plain:.3f} s, lesioned {ours:.3f} s", end="; ")
    print(f"{(ours / plain - 1) * 100:+.1f} % (at most +3)")


if __name__ == "__main__":
    main()
