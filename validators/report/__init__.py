"""What a person or a CI server reads of a release: in, the records of the manifest; out, text. Nothing is decided here.

* `matrix`: the pure model behind all of them: artifacts x (runtime, device), the headline, what blocks a requirement.
* `text`: numbers and names as they are written everywhere; names come from models nobody trusts.
* `view.view(manifest)`: what `report.md`, `report.html` and the console show of a release, decided once.
* `markdown.render(manifest) -> str`: `report.md` from `report.md.j2`, also shown in the Prefect UI.
* `junit.render(manifest) -> bytes`: `junit.xml`, one test case for each cell and each requirement.
* `lines`: the table of cells on a console, and why the others did not run; `release`, `verify` and `gate` print it.
* `terminal.render(manifest, console, ...)`: what `paritygate release` ends with.
"""
