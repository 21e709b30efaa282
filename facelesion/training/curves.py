"""Curves of a training log as a picture."""

from __future__ import annotations

from pathlib import Path

from facelesion.report.style import figure_style
from facelesion.training.files import write_figure


@figure_style()
def draw_curves(log: Path, target: Path) -> None:
    """Draw every logged value over the epochs; training and validation of the same value share a panel.

    Args:
        log: CSV with a column `epoch` and one per value (`train_loss`, `val_loss`, ...).
        target: PNG to write.
    """
    import pandas
    from matplotlib.figure import Figure

    table = pandas.read_csv(log)
    values = [name for name in table.columns if name not in ("epoch", "seconds")]
    panels: dict[str, list[str]] = {}
    for name in values:
        panels.setdefault(name.removeprefix("train_").removeprefix("val_"), []).append(name)
    figure = Figure(figsize=(3.6 * max(1, len(panels)), 3.0), layout="constrained")
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for axis, (panel, names) in zip(axes, sorted(panels.items()), strict=False):
        for name in names:
            kind = "validation" if name.startswith("val_") else "training"
            rows = table[["epoch", name]].dropna()
            axis.plot(
                rows["epoch"] + 1, rows[name], label=kind, marker="o", markersize=3,
                color="#d55e00" if kind == "validation" else "#0072b2",
            )  # fmt: skip
        axis.set(title=panel.replace("_", " "), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    write_figure(target, figure, dpi=120)
