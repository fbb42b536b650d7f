"""Puts paritygate on a Prefect server: `paritygate server`.

* `bootstrap`: the work pool, its queues, the concurrency limit, the automation and the deployments of `prefect.yaml`.
* `local_server`: a complete Prefect installation on this machine; `postgres` is its other database, `ports` finds a
  free port.
"""

POOL = "paritygate"
"""The work pool of every deployment."""
