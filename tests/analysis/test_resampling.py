"""What varies is drawn anew, alone or together; intervals cover what they say."""

import math

import numpy as np
import pytest

from facelesion.analysis import PersonScores, Term, contrast
from facelesion.analysis.crossed import SOURCES
from facelesion.analysis.resampling import in_words, resampled, resampled_interval
from facelesion.errors import Error

ONE = [Term(1, "who", "noise")]


def networks(seed: int, count: int, draws: int, people: int) -> tuple[list, dict[str, float]]:
    """Scores in which people, networks, draws and everything together differ; and the mean of what each adds."""
    random = np.random.default_rng(seed)
    ease, level = random.normal(0, 1, people), random.normal(0, 0.7, count)
    hit = random.normal(0, 0.7, (count, draws))
    values = ease + level[:, None, None] + hit[..., None] + random.normal(0, 0.7, (count, draws, people))
    names = tuple(f"p{number}" for number in range(people))
    scores = [{("who", "noise"): PersonScores(names, each)} for each in values]
    return scores, {"people": ease.mean(), "networks": level.mean(), "draws": hit.mean()}


def coverage(count: int, draws: int, people: int, over: list[str], method: str, times: int) -> float:
    """How often an interval holds what would come out over all that varies, with the rest as it is."""
    hits = []
    for seed in range(times):
        scores, means = networks(seed, count, draws, people)
        varies = {*over, *(["draws"] if "networks" in over else [])}
        truth = sum(mean for source, mean in means.items() if source not in varies)
        found = (
            contrast(scores, ONE, over).interval()
            if method == "t"
            else resampled_interval(scores, ONE, over, resamples=400, seed=seed)
        )
        hits.append(truth in found)
    return float(np.mean(hits))


# networks, draws, people; what varies
DESIGNS = [
    (1, 5, 16, ["people"]),
    (1, 5, 40, ["draws"]),
    (3, 5, 40, ["networks"]),
    (1, 3, 20, ["people", "draws"]),
    (1, 20, 40, ["people", "draws"]),
    (3, 5, 40, ["people", "draws", "networks"]),
    (12, 3, 40, ["people", "draws", "networks"]),
]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: f"{design[0]}-{in_words(design[3])}")
def test_the_t_interval_covers_whatever_varies_alone_or_together(design):
    assert 0.91 <= coverage(*design, method="t", times=400) <= 0.985


def test_networks_that_lie_nearer_together_than_their_draws_let_them_count_as_their_draws():
    scores, _ = networks(0, 3, 5, 20)
    (key,) = scores[0]
    level = [each[key].values.mean() for each in scores]
    apart = contrast(scores, ONE, ["draws", "networks"])
    assert apart.parts["networks"] == pytest.approx(np.var(level, ddof=1) / 3) and apart.freedom == 2
    alike = [
        {key: PersonScores(each[key].people, each[key].values - mean)}
        for each, mean in zip(scores, level, strict=True)
    ]
    together = contrast(alike, ONE, ["draws", "networks"])
    by_draw = [each[key].values.mean(1).var(ddof=1) / 5 / 9 for each in alike]
    assert together.parts["networks"] == pytest.approx(sum(by_draw)) and together.freedom > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", [each for each in DESIGNS if each[3] != ["networks"]], ids=lambda each: in_words(each[3])
)
def test_the_bootstrap_covers_with_five_or_more_of_what_varies(design):
    assert 0.9 <= coverage(*design, method="bootstrap", times=400) <= 0.985


def test_percentiles_of_three_networks_cover_less_than_they_say():
    assert coverage(3, 5, 40, ["networks"], method="bootstrap", times=200) < 0.85


def test_it_is_what_drawing_rows_one_by_one_gives():
    scores, _ = networks(0, 4, 6, 9)
    values = np.stack([each["who", "noise"].values for each in scores])
    random = np.random.default_rng(1)
    slow = []
    for _ in range(3000):
        people = random.integers(9, size=9)
        means = []
        for network in random.integers(4, size=4):
            draws = random.integers(6, size=6)
            means.append(np.mean([[values[network, draw, person] for person in people] for draw in draws]))
        slow.append(np.mean(means))
    fast = resampled(scores, ONE, resamples=3000)
    assert fast.mean() == pytest.approx(np.mean(slow), abs=0.03)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.06)


def test_a_person_and_a_draw_go_with_all_they_were_in():
    scores, _ = networks(0, 1, 5, 8)
    twice = {**scores[0], ("again", "noise"): scores[0]["who", "noise"]}
    apart = [Term(1, "who", "noise"), Term(-1, "again", "noise")]
    assert np.abs(resampled(twice, apart)).max() < 1e-12
    several = [{**each, ("again", "noise"): each["who", "noise"]} for each in networks(0, 3, 5, 8)[0]]
    assert np.abs(resampled(several, apart)).max() < 1e-12


def test_only_what_is_named_varies():
    scores, _ = networks(0, 1, 6, 10)
    values = scores[0]["who", "noise"].values
    alone = {over: resampled(scores, ONE, [over], resamples=4000).std() for over in ("people", "draws")}
    assert alone["people"] == pytest.approx(values.mean(0).std() / math.sqrt(10), rel=0.05)
    assert alone["draws"] == pytest.approx(values.mean(1).std() / math.sqrt(6), rel=0.05)
    both = resampled(scores, ONE, ["people", "draws"], resamples=4000).std()
    assert both >= math.hypot(*alone.values()) * 0.97
    fixed = [Term(1, "who", "noise", fixed=True)]
    assert resampled(scores, fixed, ["draws"]).std() < 1e-12


def test_a_link_is_put_between_the_mean_and_the_weight():
    scores, _ = networks(0, 2, 4, 8)
    found = resampled_interval(scores, [Term(2, "who", "noise")], links={"who": np.exp}, resamples=200)
    means = [each["who", "noise"].values.mean() for each in scores]
    assert found.estimate == pytest.approx(2 * np.mean(np.exp(means)))
    assert found.low > 0


def test_the_same_seed_gives_the_same_values_and_another_others():
    scores, _ = networks(0, 2, 4, 8)
    one = resampled(scores, ONE, resamples=50, seed=1)
    assert (one == resampled(scores, ONE, resamples=50, seed=1)).all()
    assert (one != resampled(scores, ONE, resamples=50, seed=2)).any()


def test_what_was_seen_once_has_no_interval():
    scores, _ = networks(0, 1, 1, 8)
    assert math.isnan(resampled_interval(scores, ONE, ["draws"]).low)
    assert math.isnan(resampled_interval(scores, ONE, ["networks"]).low)
    assert not math.isnan(resampled_interval(scores, ONE, ["people"]).low)


def test_several_networks_draws_are_an_error_of_their_own():
    scores, _ = networks(0, 3, 5, 30)
    alone = contrast(scores, ONE, ["draws"])
    values = np.stack([each["who", "noise"].values.mean(1) for each in scores])
    assert alone.error == pytest.approx(math.sqrt(values.var(axis=1, ddof=1).sum() / 5) / 3)
    assert set(alone.parts) == {"draws"}
    assert set(contrast(scores, ONE, SOURCES).parts) == {"people", "networks"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [({"over": []}, "what varies"), ({"over": ["pictures"]}, "source"), ({"resamples": 0}, "resamples")],
)
def test_what_cannot_be_resampled_is_refused(arguments, complaint):
    scores, _ = networks(0, 1, 3, 5)
    with pytest.raises(Error, match=complaint):
        resampled(scores, ONE, **arguments)
    with pytest.raises(Error, match="no scores of who under ablation"):
        resampled(scores, [Term(1, "who", "ablation")])
    uneven = {**scores[0], ("what", "noise"): PersonScores(("a", "b"), np.zeros((2, 2)))}
    with pytest.raises(Error, match="3 draws in one task and 2 in another"):
        resampled(uneven, [*ONE, Term(1, "what", "noise")])


def test_what_varies_is_named_in_one_order():
    assert in_words(["networks", "people"]) == "people × networks"
