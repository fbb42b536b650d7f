"""Writes what a person or a CI server reads of a release: text from the records of the manifest. It decides nothing.

* `view.view(manifest)`: words, orders and numbers as text, decided once for all reports below.
* `markdown.render(manifest) -> str`: `report.md` from `report.md.j2`, also shown in the Prefect UI.
* `html.render(manifest, worst=...) -> str`: `report.html`.
* `junit.render(manifest) -> bytes`: `junit.xml`, one test case for each cell and each requirement.
* `terminal`: the end of `paritygate release`, and `paritygate compare`.
* `cell_table`, `approval_lines`: lines that `release`, `verify` and `gate` print.
"""
