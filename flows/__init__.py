"""The flows: what a person or a schedule starts. The only layer that knows Prefect.

* `settings`: one model behind `release.toml`, the flow's parameters and the CLI's flags.
* `run` plans a release as `stages`; `exports`, `cells` and `conclude` do their work in a `workspace`; `progress` is
  what a run tells meanwhile.
* `release` is the Prefect flow over these stages, `stages.run_on_threads` the engine without Prefect.
* `verify` runs the cells of a release again, those that `selection` picks, and may attest them for this `machine`;
  `gate` judges a release with its attestations; `inspect` and `doctor` are the smaller commands; `cli` puts all of them
  on the command line.
"""
