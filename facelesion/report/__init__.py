"""Figures and the report of a study, made from its run folder alone."""

from facelesion.report.html import write_report
from facelesion.report.run_folder import (
    COLUMNS,
    TRIAL_COLUMNS,
    Confusion,
    GradCamMaps,
    LeftOut,
    Manifest,
    Run,
    StimulusExamples,
    read_run,
    write_config,
    write_confusions,
    write_gradcam,
    write_manifest,
    write_stimuli,
    write_table,
    write_training_log,
    write_trials,
)

__all__ = [
    "COLUMNS",
    "Confusion",
    "GradCamMaps",
    "LeftOut",
    "Manifest",
    "Run",
    "StimulusExamples",
    "TRIAL_COLUMNS",
    "read_run",
    "write_config",
    "write_confusions",
    "write_gradcam",
    "write_manifest",
    "write_report",
    "write_stimuli",
    "write_table",
    "write_training_log",
    "write_trials",
]
