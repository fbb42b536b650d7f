"""Computes docs/scaling.md: what a fleet needs for so many models a day, from what `benchmarks/fleet.py` measured.

In: docs/scaling.json. Out: the document; every figure in its tables is measured, assumed (and said so) or computed.

    .venv/bin/python -m tools.scaling
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "scaling.json"
DOCUMENT = ROOT / "docs" / "scaling.md"

DAILY = (10, 1_000, 100_000)
BUSY = 0.6  # share of the day that a worker works: models come in bursts, machines are repaired
KEPT_DAYS = 90
RUN_DAYS = 30
DAY = 86_400

_INSTALLATIONS = {
    10: ("one machine, `make server`", "SQLite", "`process`", "a folder"),
    1_000: ("a server, workers on machines of their own", "PostgreSQL", "`process` or container", "NFS"),
    100_000: (
        "an API server, its services apart; several servers need leases in Redis",
        "PostgreSQL on a machine of its own, with a connection pool",
        "Kubernetes: a pod for each run",
        "NFS that knows `flock`; what is finished, archived to a bucket",
    ),
}


def figures(record: dict[str, Any], models: int) -> dict[str, str]:
    """What so many models a day need.

    Args:
        record: as `benchmarks/fleet.py` wrote it.
        models: a day.
    """
    one = record["fleets"][0]
    count = one["models"]
    seconds, cpu = one["seconds"] / count, one["cpu_seconds"] / count
    workers = max(1, math.ceil(models * seconds / (DAY * BUSY)))
    return {
        "models a day": f"{models:,}",
        "workers": f"{workers:,}",
        "core hours a day": f"{models * cpu / 3600:,.1f}",
        "memory of all workers, GiB": f"{workers * one['peak_memory'] / 2**30:,.0f}",
        f"releases kept {KEPT_DAYS} days, GB": f"{models * KEPT_DAYS * one['release_bytes'] / count / 1e9:,.1f}",
        f"runs kept {RUN_DAYS} days, database GB": f"{models * RUN_DAYS * one['database_bytes'] / count / 1e9:,.1f}",
        "a run begins every, s": f"{DAY / models:,.2f}",
    }


def document(record: dict[str, Any]) -> str:
    """The whole of docs/scaling.md."""
    one = record["fleets"][0]
    count = one["models"]
    columns = [figures(record, models) for models in DAILY]
    rows = [f"| {name} | {' | '.join(column[name] for column in columns)} |" for name in columns[0]]
    installed = [f"| {models:,} | {' | '.join(_INSTALLATIONS[models])} |" for models in DAILY]
    fleets = [
        f"| {f['workers']} | {f['models']} | {f['seconds']:.0f} | {3600 * f['models'] / f['seconds']:.0f} | "
        f"{one['seconds'] * f['models'] / (f['seconds'] * count):.2f} |"
        for f in record["fleets"]
    ]
    return _TEXT.format(
        model=record["model"],
        machine=record["machine"],
        fleets="\n".join(fleets),
        seconds=f"{one['seconds'] / count:.1f}",
        cpu=f"{one['cpu_seconds'] / count:.1f}",
        memory=f"{one['peak_memory'] / 2**30:.1f}",
        megabytes=f"{one['release_bytes'] / count / 1e6:.2f}",
        kilobytes=f"{one['database_bytes'] / count / 1e3:.0f}",
        busy=f"{BUSY:.0%}",
        kept=KEPT_DAYS,
        runs=RUN_DAYS,
        rows="\n".join(rows),
        installed="\n".join(installed),
    )


_TEXT = """# How many machines, how much storage

`python -m tools.scaling` writes this file from [`scaling.json`](scaling.json), which `python -m benchmarks.fleet
--record docs/scaling.json` measured: no figure is made by hand. *What that looks like* is advice and was not tried at
that size. For models of your own size, measure one of them
(`python -m benchmarks.fleet MODEL --record docs/scaling.json`) and compute again.

## Measured

{model}, on one machine ({machine}), GPU cells off, every worker one run at a time:

| workers | models | wall s | models per hour | to one worker |
| ---: | ---: | ---: | ---: | ---: |
{fleets}

Two workers on one machine share its cores; on two machines nothing is shared but the server and the storage. Of one
worker, for each model: {seconds} s of wall time, {cpu} s of CPU time, {megabytes} MB of release, {kilobytes} kB in
Prefect's database; at most {memory} GiB of memory.

## Computed

| | | | |
| --- | ---: | ---: | ---: |
{rows}

| assumed | figure | why |
| --- | --- | --- |
| a worker is a machine like the measured one | 1 run at a time | a release uses all cores of a small machine |
| a worker works | {busy} of the day | models come in bursts, machines are repaired |
| a release takes | {seconds} s | the measured model; time grows with the model, mostly in export |
| releases are kept | {kept} days | delete whole release directories, oldest first |
| runs are kept | {runs} days | `prefect` deletes older flow runs: a scheduled flow of yours, or SQL |

## What that looks like

| models a day | server | database | pool | storage |
| ---: | --- | --- | --- | --- |
{installed}

* **Work pools with several workers are the unit.** `paritygate fleet MODELS -o RELEASES` submits a list of models to
  the pool, never more than `--at-once` at a time; each worker asks for the next one when it is free. Another worker is
  another `prefect worker start --pool paritygate --work-queue cpu --limit 1`, on a machine that sees the same paths.
* **Releases lie in a folder** that all workers see; a run holds its release by a lock in it. A bucket may hold models
  and what `submit --storage` uploads, not releases.
* **Process pools** start a run the fastest and share one environment: enough while machines are alike. **Containers**
  pin the environment. **Kubernetes** adds and removes machines; its scheduler needs the memory above as a request, and
  a run that is evicted is retried and continues where it was, if its release directory is on a volume that the next pod
  sees.
* **One folder of releases** holds directories by model and digest; a folder for each day or family keeps listings
  short.
* **The server** is asked about once for every stage's state, in batches, and once a second by each fleet. SQLite takes
  one writer at a time: beyond a few runs at the same time, take PostgreSQL.
"""


def main() -> int:
    """Writes the document."""
    DOCUMENT.write_text(document(json.loads(RECORD.read_text("utf-8"))), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
