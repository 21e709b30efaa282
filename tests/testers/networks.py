"""The checks that every network passes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from facelesion.lesions import Ablate, aliases, lesioned, sites
from facelesion.models import Subject
from facelesion.sweep import make_plan, sweep

from .tester import Tester

PHOTOGRAPHS = torch.randint(
    0, 256, (2, 3, 130, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@dataclass(frozen=True)
class Network:
    """What is to be known of a network.

    Attributes:
        get: makes its subject.
        site: a place to damage it.
        width: the size of its representation.
        published: what its published preprocessing makes of `PHOTOGRAPHS`.
        alias, path: a name of the literature, and the module path it means; none where it has none.
        tolerance: mean difference from `published` allowed, where that rounds to bytes on the way.
    """

    get: Callable[[], Subject]
    site: str
    width: int
    published: Callable[[], Tensor]
    alias: str = ""
    path: str = ""
    tolerance: float | None = None


class NetworkTester(Tester):
    """A network is prepared for as published, answers, has sites, is damaged and swept. Rows are of `Network`."""

    rows: ClassVar[Mapping[str, Network]] = {}

    @pytest.fixture(scope="class")
    def subject(self, row: Network) -> Subject:
        return row.get()

    @pytest.fixture(scope="class")
    def inputs(self, subject: Subject) -> Tensor:
        return subject.preprocess(PHOTOGRAPHS)

    def test_is_ready_to_be_studied(self, row: Network, subject: Subject) -> None:
        assert not subject.module.training and subject.name and subject.weights

    def test_pictures_are_prepared_as_published(self, row: Network, subject: Subject, inputs: Tensor) -> None:
        assert inputs.shape == (2, 3, subject.size, subject.size) and inputs.dtype == torch.float32
        if row.tolerance is not None:
            assert (inputs - row.published()).abs().mean() < row.tolerance
        else:
            torch.testing.assert_close(inputs, row.published(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(subject.preprocess(PHOTOGRAPHS / 255), inputs)

    def test_answers_each_picture_whatever_else_is_in_the_batch(
        self, row: Network, subject: Subject, inputs: Tensor
    ) -> None:
        healthy = subject.module(inputs)
        assert healthy.shape == (2, row.width) and healthy.isfinite().all() and not torch.equal(*healthy)
        torch.testing.assert_close(subject.module(inputs[1:]), healthy[1:], rtol=1e-3, atol=1e-4)
        assert subject.identity(healthy).shape[0] == 2 and subject.identity(healthy).ndim == 2

    def test_names_of_the_literature_lead_to_places_that_are_there(self, row: Network, subject: Subject) -> None:
        for known, target in getattr(subject.module, "site_aliases", {}).items():
            assert aliases(subject.module)[known] == target and sites(subject.module, known) == (target,)
        if row.alias:
            assert sites(subject.module, row.alias) == (row.path,)

    def test_damage_is_swept_from_where_it_begins_and_leaves_nothing_behind(
        self, row: Network, subject: Subject, inputs: Tensor
    ) -> None:
        healthy = subject.module(inputs)
        before = copy.deepcopy(subject.module.state_dict())
        lesions = {
            "none": None, "half": Ablate(row.site, fraction=0.5), "one": Ablate(row.site, units=[0])
        }  # fmt: skip
        with lesioned(subject.module, lesions["half"]):
            damaged = subject.module(inputs)
        scale = float(healthy.abs().max())
        assert float((damaged - healthy).abs().max()) > 1e-3 * scale > 0
        plan = make_plan(subject.module, lesions, inputs)
        assert plan.why_whole == "" and plan.multiply_adds < plan.naive_multiply_adds
        swept = sweep(subject.module, lesions, inputs)
        torch.testing.assert_close(torch.as_tensor(swept["half"]), damaged, rtol=1e-3, atol=1e-4 * scale)
        torch.testing.assert_close(torch.as_tensor(swept["none"]), healthy, rtol=1e-3, atol=1e-4 * scale)
        assert torch.equal(subject.module(inputs), healthy)
        assert all(torch.equal(value, before[key]) for key, value in subject.module.state_dict().items())
        torch.fx.symbolic_trace(subject.module)
