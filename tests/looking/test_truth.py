"""Ways of finding units are held to decisions whose evidence is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facelesion.data.facespace import FaceSpace
from facelesion.looking.questions import Question, feature_decision
from facelesion.looking.truth import features_alone, find_units, hold_to_the_truth, ways_of
from facelesion.models import Subject, get


@pytest.fixture
def planted() -> tuple[Subject, dict[str, Question], dict[str, torch.Tensor]]:
    """Twenty units, all of which see everything; one decision hangs on unit 3 alone, the other on unit 11."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.Softplus()).eval()
    with torch.no_grad():
        module[1].bias.fill_(2.0)
    subject = Subject("planted", module, 2, lambda images: images.float() / 255, nn.Identity(), "planted")
    images = torch.randint(0, 256, (24, 3, 2, 2), dtype=torch.uint8)
    people = tuple(f"p{row // 2}" for row in range(24))

    def question(name: str, unit: int) -> Question:
        return Question(name, name, images, people, lambda outputs, numbers: outputs[:, unit] - 0.1, 1.0, 0.5)

    alone = {name: torch.randint(0, 256, (24, 3, 2, 2), dtype=torch.uint8) for name in ("eyes", "nose")}
    return subject, {"eyes": question("eyes", 3), "nose": question("nose", 11)}, alone


def test_causal_units_take_their_own_decision_and_no_other(
    planted: tuple[Subject, dict[str, Question], dict[str, torch.Tensor]],
) -> None:
    subject, questions, alone = planted
    ways = ways_of(0.05, ("activation", "causal"))
    rankings = find_units(subject, ["2"], ways, alone, questions["eyes"].people, questions, resamples=0, splits=0)
    table = hold_to_the_truth(subject, rankings, questions, fraction=0.05, draws=19)
    causal = table[table["way"] == "causal"].set_index(["units_of", "asked"])
    assert causal.loc[("eyes", "eyes"), "units"] == "3" and causal.loc[("nose", "nose"), "units"] == "11"
    own = causal.loc[("eyes", "eyes")]
    assert own["margin"] < 0 < 0.5 < own["matched"]
    # One unit has few equals, and only sets that differ count.
    assert own["p_random"] <= 0.1 and own["p_matched"] == pytest.approx(1 / (own["distinct"] + 1))
    assert causal.loc[("eyes", "nose"), "margin"] == pytest.approx(1.0, abs=1e-5)
    active = table[table["way"] == "activation"]
    assert active["units"].nunique() <= 2 and active["p_random"].max() > 0.05


@pytest.mark.slow
def test_in_the_built_in_network_causal_units_matter_more_than_sets_as_active() -> None:
    subject, space = get("builtin"), FaceSpace.load()
    questions = [{"mouth": feature_decision(subject, "mouth", 12, seed=seed, space=space)} for seed in (41, 42)]
    faces = space.draw(8, 1, 43)
    rankings = find_units(
        subject, ["conv5_3"], ways_of(0.1, ("causal",)), features_alone(faces, features=("mouth",)), faces.labels,
        questions[0], resamples=0, splits=0,
    )  # fmt: skip
    (row,) = hold_to_the_truth(subject, rankings, questions[1], draws=39).to_dict("records")
    assert row["margin"] < row["matched"] and row["p_matched"] <= 0.05
