"""The validation layer: from artifacts to evidence to a verdict. Knows the exporters, nothing of flows or of Prefect.

A tour, in the order the data goes:

* `samples` reads or draws the inputs; `reference` runs the original over them; `evidence` (files in `tensorfiles`)
  keeps
  both.
* `registry` lists the runtimes, `availability` says which this machine has, `runtimes` runs them, `web` is the browser.
* `cell` feeds the samples to one artifact in one runtime; `tolerance` says how far an output may lie from the
  reference,
  `measure` how far it lies, `compare` what that means.
* `gate` turns all cells into one verdict. `compare`, `tolerance` and `gate` are pure.
* `manifest` is `release.json`, `schema` its published form, `integrity` the digests, `report` what a person reads.
"""
