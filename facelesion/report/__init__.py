"""Figures and the report of a study, made from its run folder alone."""

from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS
from facelesion.report.drawings import FIGURES, STUDY_FIGURES, Drawing, Results
from facelesion.report.html import write_report
from facelesion.report.run_folder import (
    Confusion,
    GradCamMaps,
    LeftOut,
    Manifest,
    Run,
    StimulusExamples,
    read_run,
    write_config,
    write_confusions,
    write_controls,
    write_gradcam,
    write_manifest,
    write_rankings,
    write_stimuli,
    write_table,
    write_training_log,
    write_trials,
)

__all__ = [
    "Confusion",
    "Drawing",
    "FIGURES",
    "GradCamMaps",
    "LeftOut",
    "Manifest",
    "Results",
    "Run",
    "STUDY_FIGURES",
    "StimulusExamples",
    "TABLE_COLUMNS",
    "TRIAL_COLUMNS",
    "read_run",
    "write_config",
    "write_confusions",
    "write_controls",
    "write_gradcam",
    "write_manifest",
    "write_rankings",
    "write_report",
    "write_stimuli",
    "write_table",
    "write_training_log",
    "write_trials",
]
