"""Figures and the report of a study, made from its run folder alone; its tables as text for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS
    from facelesion.report.drawings import FIGURES, STUDY_FIGURES, Drawing, Results
    from facelesion.report.export import export_run
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
    from facelesion.report.style import blank, look

__all__ = [
    "Confusion", "Drawing", "FIGURES", "GradCamMaps", "LeftOut", "Manifest", "Results", "Run", "STUDY_FIGURES",
    "StimulusExamples", "TABLE_COLUMNS", "TRIAL_COLUMNS", "blank", "export_run", "look", "read_run", "write_config",
    "write_confusions", "write_controls", "write_gradcam", "write_manifest", "write_rankings", "write_report",
    "write_stimuli", "write_table", "write_training_log", "write_trials",
]  # fmt: skip

# Whoever exports tables needs neither the figures nor the statistics.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "columns": ("TABLE_COLUMNS", "TRIAL_COLUMNS"),
        "drawings": ("Drawing", "FIGURES", "Results", "STUDY_FIGURES"),
        "export": ("export_run",),
        "html": ("write_report",),
        "run_folder": (
            "Confusion", "GradCamMaps", "LeftOut", "Manifest", "Run", "StimulusExamples", "read_run", "write_config",
            "write_confusions", "write_controls", "write_gradcam", "write_manifest", "write_rankings", "write_stimuli",
            "write_table",
            "write_training_log", "write_trials",
        ),
        "style": ("blank", "look"),
    },
)  # fmt: skip
