"""The Keras notebook as a page: its parts in its order, ours beside what it printed.

`looks` looks into the network once (stimuli, maps, responsible units, who is in which part); `tables` puts a run's
results into the notebook's layout; `drawings` draws them; `words` says what each part did and what differs; `page`
writes `notebook.html`.
"""

from __future__ import annotations

from facelesion.training.notebook_page.page import notebook_command, write_notebook

__all__ = ["notebook_command", "write_notebook"]
