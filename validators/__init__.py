"""The validation layer: from artifacts to evidence to a verdict. Knows the exporters, and nothing of flows.

A tour, in the order the data goes:

* `samples` reads or draws the inputs; `reference` runs the original over them; `evidence` keeps both, in
  files that `tensorfiles` writes and reads.
* `registry` lists the runtimes, `availability` says which of them this machine has, `hosts` names the
  preloaded processes that run them, `runtimes` holds a module for each, `web` is the browser.
* `cell` feeds the samples to one artifact in one runtime, call by call (`feeding`).
* `tolerance` says how far an output may lie from the reference, `measure` how far it does lie, `compare`
  what that means.
* `gate` turns all cells into one verdict. `compare`, `tolerance` and `gate` are pure.
* `manifest` is `release.json`, `attestation` what other machines add to it later; `records` reads and writes both
  strictly, `schema` publishes their form. `integrity` checks the digests, `claims` what a manifest says against itself.
* `report` is what a person reads.
"""
