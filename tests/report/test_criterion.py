"""What an area under the curve cannot show is said: answers that are all one, and answers that fall further."""

import math

import numpy as np
import pandas as pd
import pytest

from facelesion.report.criterion import collapses
from facelesion.report.findings import collapsed, evidence, findings

KEPT = 0.97


def rows(lesion, dose, hits, alarms, area, draw=0, task="verification", participant="m"):
    """The measures of one condition of a yes/no task, by the definition of `tasks/scores.py`."""
    values = {"auc": area, "accuracy": (hits + 1 - alarms) / 2, "hit_rate": hits, "false_alarm_rate": alarms}
    return [
        dict(
            participant=participant, weights="w", lesion=lesion, dose=dose, step=round(10 * dose), draw=draw, task=task,
            stimulus="intact", metric=name, words="area under the ROC curve" if name == "auc" else name,
            main=name == "auc", value=value, n=400, share=name != "auc", ceiling=1.0,
            chance=0.5 if name in ("auc", "accuracy") else math.nan,
        )
        for name, value in values.items()
    ]  # fmt: skip


def study(*damaged, intact=(0.92, 0.10, 0.98)):
    """A table of conditions (lesion, dose, hits, false alarms, area, draw)."""
    return pd.DataFrame(sum((rows(*one) for one in damaged), rows("none", 0.0, *intact)))


def said(table):
    return [finding.text.replace("\u00a0", " ") for finding in findings(table, None)]


def test_a_network_that_says_yes_to_everything_is_said_to_though_its_area_is_whole():
    table = study(*(("ablation", dose, 1.0, 1.0, KEPT, draw) for dose in (0.1, 0.3) for draw in (0, 1)))
    (told,) = [text for text in said(table) if text.startswith("verification under ablation")]
    assert told == (
        "verification under ablation at 0.1 and 0.3: the network says “yes” to nearly everything (at the last of these "
        "hits 100.0 %, false alarms 100.0 %; accuracy 50.0 %, intact 91.0 %): its order of trials is kept (98 % left "
        "above chance, area under the ROC curve), its criterion is lost."
    )


@pytest.mark.parametrize(
    ("hits", "alarms", "answer"), [(0.95, 0.9, "yes"), (0.1, 0.0, "no"), (0.95, 0.85, None), (0.9, 0.12, None)]
)
def test_nearly_everything_is_nine_of_ten_answers_of_either_kind(hits, alarms, answer):
    found = collapses(study(("noise", 0.5, hits, alarms, 0.6)))
    assert [each.answer for each in found if each.answer] == ([answer] if answer else [])


def test_draws_that_each_give_one_answer_count_though_their_mean_is_of_both():
    (found,) = collapses(study(("noise", 0.5, 1.0, 1.0, 0.9, 0), ("noise", 0.5, 0.0, 0.0, 0.9, 1)))
    assert found.answer == "one" and found.hits == 0.5 and "with the draw" in found.words()


def test_one_draw_of_three_is_no_rule():
    draws = [("noise", 0.5, 1.0, 1.0, 0.9, 0), *(("noise", 0.5, 0.85, 0.1, 0.9, draw) for draw in (1, 2))]
    assert collapses(study(*draws)) == []


def test_answers_that_fall_further_than_the_order_are_told_without_being_all_one():
    (found,) = collapses(study(("noise", 0.5, 0.8, 0.6, 0.9)))
    assert found.answer == "" and "fall further than what orders its trials" in found.words()
    assert "its order of trials is kept" in found.words() and "its criterion has moved" in found.words()


def test_an_order_that_falls_with_the_answers_is_not_said_to_be_kept():
    (found,) = collapses(study(("noise", 0.5, 1.0, 1.0, 0.55)))
    assert "its order of trials falls too (10\u00a0% left" in found.words()


def test_where_the_criterion_holds_or_there_was_none_nothing_is_said():
    assert collapses(study(("noise", 0.5, 0.85, 0.2, 0.9))) == []
    assert collapses(study(("noise", 0.5, 0.7, 0.3, 0.75))) == []  # both fall alike
    guesser = study(("noise", 0.5, 1.0, 1.0, 0.9), intact=(1.0, 1.0, 0.9))
    assert collapses(guesser) == []


def test_doses_that_say_another_thing_are_told_apart():
    found = collapses(study(("noise", 0.1, 0.0, 0.0, 0.9), ("noise", 0.2, 1.0, 1.0, 0.9)))
    assert [(each.answer, each.doses) for each in found] == [("no", (0.1,)), ("yes", (0.2,))]


def test_a_task_whose_main_measure_is_its_accuracy_needs_no_such_sentence():
    table = study(("noise", 0.5, 1.0, 1.0, 0.9))
    assert collapses(table[table["metric"] == "accuracy"].assign(main=True)) == []


def test_the_answer_is_named_as_the_task_names_it():
    random = np.random.default_rng(0)
    table = study(("ablation", 0.3, 1.0, 1.0, KEPT, 0), ("ablation", 0.3, 1.0, 1.0, KEPT, 1))
    people = [f"p{number}" for number in range(8)]
    pairs = [(one, one, "same") for one in people for _ in range(2)]
    pairs += [(one, people[number - 1], "different") for number, one in enumerate(people)]
    asked = []
    for lesion, dose, draw in (("none", 0.0, 0), ("ablation", 0.3, 0), ("ablation", 0.3, 1)):
        for trial, (one, other, target) in enumerate(pairs):
            like = random.normal(1.5 if target == "same" else -1.5) + (9 if lesion == "ablation" else 0)
            answer = "same" if like > 0 else "different"
            asked.append(
                dict(
                    participant="m", lesion=lesion, dose=dose, draw=draw, control="", stimulus="intact", trial=trial,
                    task="verification", section="", item="", person=one, other="" if one == other else other,
                    target=target, answer=answer, value=like if target == "same" else -like, right=answer == target,
                    forced_choice=float(answer == target),
                )
            )  # fmt: skip
    texts = [finding.text for finding in findings(table, evidence(table, pd.DataFrame(asked)))]
    assert any("the network says “same” to nearly everything" in text for text in texts), texts


def test_over_several_networks_it_is_counted_beside_the_count_of_losses():
    lost, whole = study(("ablation", 0.3, 1.0, 1.0, KEPT)), study(("ablation", 0.3, 0.9, 0.1, KEPT))
    (finding,) = collapsed({"one": lost, "two": whole})
    assert finding.text.startswith("verification under ablation: in 1 of 2 (one) the answers are lost")
    assert collapsed({"one": lost}) == []
