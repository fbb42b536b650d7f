"""Decides once what every report of a release says: words, orders, and numbers as text. Pure; it reads a manifest only.

* `release`: `view(manifest) -> View`, which Markdown, HTML, JUnit and the terminal read.
* `matrix`: a line for every cell, the headline, the summary, and which reasons concern a requirement or a cell.
* `cells`: every cell with its problems in sentences; skipped sample sets.
* `outputs`: the comparisons of each output, and how their errors are spread.
* `sections`, `tables`: titles, tables and sentences that follow, in their order.
* `notes`: sentences on samples, user code, retries and the baseline.
* `text`: the kinds of text that a table holds, and how limits, pairs and durations are written.
* `comparison`: `compare_view`, two releases next to each other for `paritygate compare`.
"""

from validators.report.view.release import View, view

__all__ = ["View", "view"]
