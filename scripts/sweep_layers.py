"""How far damage in each layer of a face network moves what the network makes of a face.

python scripts/sweep_layers.py                     # the packaged network, made-up faces
python scripts/sweep_layers.py --people 20 --doses 0.1 0.3 0.5
"""

from __future__ import annotations

import argparse

import torch

from facelesion.data import FaceSpace
from facelesion.lesions import Ablate
from facelesion.models import get
from facelesion.sweep import make_plan, sweep


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--doses", type=float, nargs="+", default=[0.1, 0.2, 0.4])
    given = parser.parse_args()

    subject = get(given.model)
    faces = FaceSpace.load().draw(given.people, 3, 0)
    images = subject.preprocess(faces.images)

    sites = [alias for alias in subject.module.site_aliases if alias.startswith("conv")]
    lesions = {f"{site} {dose:g}": Ablate(site, fraction=dose) for site in sites for dose in given.doses}
    print(make_plan(subject.module, lesions | {"healthy": None}, images).explain())

    outputs = sweep(subject.module, lesions | {"healthy": None}, images, progress=True)
    healthy = outputs.pop("healthy")
    print(
        f"\n{'site':10}"
        + "".join(f"{dose:>8.0%}" for dose in given.doses)
        + "   cosine to the healthy answer"
    )
    for site in sites:
        alike = [torch.cosine_similarity(outputs[f"{site} {dose:g}"], healthy).mean() for dose in given.doses]
        print(f"{site:10}" + "".join(f"{float(value):8.3f}" for value in alike))


if __name__ == "__main__":
    main()
