"""What a lesion study asks of its numbers: rankings, controls, statistics, claims; and Grad-CAM."""

from facelesion.analysis.against import against_controls
from facelesion.analysis.answers import Answers, answers_of, choice_of_two, d_prime
from facelesion.analysis.bayesian_cases import BayesianTest, bayesian_deficit, bayesian_difference
from facelesion.analysis.case_tables import false_alarms, judge_cases
from facelesion.analysis.cases_in_words import coming_apart, standing
from facelesion.analysis.claims import (
    Difference,
    Loss,
    Profile,
    differences,
    dissociations,
    losses,
    profile,
)
from facelesion.analysis.contrast_tests import ContrastResult, contrast_against_controls, measure_contrast
from facelesion.analysis.contrasts import Contrast, check_contrasts
from facelesion.analysis.controls import MatchedUnits, matched_units, random_units
from facelesion.analysis.crossed import Estimate, PersonScores, Term, contrast, crossed_interval, holm
from facelesion.analysis.curve_tables import Fits, fit_curves
from facelesion.analysis.families import Adjusted, adjust
from facelesion.analysis.gradcam import class_score, grad_cam, likeness_score
from facelesion.analysis.likeness import likeness_to_health, picture_distances
from facelesion.analysis.mapped_sites import map_sites
from facelesion.analysis.necessity import necessity_and_sufficiency
from facelesion.analysis.psychometric import Curve, CurveComparison, compare_curves, fit_curve, scores_by_dose
from facelesion.analysis.ranked import agreement_of_rankings, rank, top_units
from facelesion.analysis.rankings import (
    Agreement,
    Selectivity,
    ranking_agreement,
    responsible_units,
    selectivity,
    unit_activation,
)
from facelesion.analysis.receptive import ReceptiveField, receptive_fields
from facelesion.analysis.resampling import resampled, resampled_interval
from facelesion.analysis.statistics import (
    CaseTest,
    Dissociation,
    Interval,
    NullTest,
    bootstrap_interval,
    cliffs_delta,
    cohens_h,
    crawford_howell,
    crawford_howell_from_summary,
    dissociation,
    false_discovery_rate,
    hedges_g,
    null_test,
    revised_standardised_difference,
    revised_standardised_difference_from_summary,
    share_kept,
    spearman_brown,
    split_half_reliability,
)
from facelesion.analysis.ways import FromFile, Greedy, Responsible

__all__ = [
    "Adjusted",
    "Agreement",
    "Answers",
    "BayesianTest",
    "CaseTest",
    "Contrast",
    "ContrastResult",
    "Curve",
    "CurveComparison",
    "Difference",
    "Dissociation",
    "Estimate",
    "Fits",
    "FromFile",
    "Greedy",
    "Interval",
    "Loss",
    "MatchedUnits",
    "NullTest",
    "PersonScores",
    "Profile",
    "ReceptiveField",
    "Responsible",
    "Selectivity",
    "Term",
    "adjust",
    "against_controls",
    "agreement_of_rankings",
    "answers_of",
    "bayesian_deficit",
    "bayesian_difference",
    "bootstrap_interval",
    "check_contrasts",
    "choice_of_two",
    "class_score",
    "cliffs_delta",
    "cohens_h",
    "coming_apart",
    "compare_curves",
    "contrast",
    "contrast_against_controls",
    "crawford_howell",
    "crawford_howell_from_summary",
    "crossed_interval",
    "d_prime",
    "differences",
    "dissociation",
    "dissociations",
    "false_alarms",
    "false_discovery_rate",
    "fit_curve",
    "fit_curves",
    "grad_cam",
    "hedges_g",
    "holm",
    "judge_cases",
    "likeness_score",
    "likeness_to_health",
    "losses",
    "map_sites",
    "matched_units",
    "measure_contrast",
    "necessity_and_sufficiency",
    "null_test",
    "picture_distances",
    "profile",
    "random_units",
    "rank",
    "ranking_agreement",
    "receptive_fields",
    "resampled",
    "resampled_interval",
    "responsible_units",
    "revised_standardised_difference",
    "revised_standardised_difference_from_summary",
    "scores_by_dose",
    "selectivity",
    "share_kept",
    "spearman_brown",
    "split_half_reliability",
    "standing",
    "top_units",
    "unit_activation",
]
