"""Runs what a person or a schedule starts: commands and flows. The only layer that knows Prefect.

The rooms, each above all that it imports:

* `progress`: events of a run, and how a terminal shows them.
* `config`: settings, policy and `release.toml`: one model behind flags, file and form.
* `machine`: what this machine is and can run (`doctor`), and what a model file declares (`inspect`).
* `review`: judges a release with its attestations; records what people decide.
* `pipeline`: the stages of a release and of a verification, and what they hand to each other.
* `prefect`: the same stages as a Prefect flow, and everything else that imports Prefect.
* `batch`: many models: a folder, a schedule, a pool of workers.
* `diagnose`: finds the layer that a failed cell gets wrong.
* `deployment`: puts the flows on a server: pool, queues, deployments; a server on this machine.
* `setup`: what pip cannot install: browser packages, Chromium, the TF.js converter, Prefect's database.
* `cli`: one module for each command.
"""

__distribution__ = "paritygate"
