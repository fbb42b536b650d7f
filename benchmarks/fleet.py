"""Measures a fleet of workers: the same list of models released by one worker, then by two, on this machine.

In: a model (the digits unless told otherwise), copied under as many names as asked. Out: a Markdown table on stdout,
and with `--record` the figures as JSON, from which `tools/scaling.py` computes docs/scaling.md. A Prefect server of its
own on the loopback, its database on a temporary disk; every worker takes one run at a time, GPU cells are off.

    .venv/bin/python -m benchmarks.fleet [MODEL] [--models 12] [--record docs/scaling.json]
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.processes import BIN, PYTHON, ROOT, alive, prefect_server, stop, timed

_TERMS = '[policy]\ngpu = "off"\n'
_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Records the cost of one fleet.

    Attributes:
        workers, models: how many.
        seconds: wall time, from the hand-over to the last verdict.
        cpu_seconds: of the workers with everything below them.
        peak_memory: bytes of the workers' trees together, shared pages counted once; sampled.
        release_bytes: of all releases together.
        database_bytes: by how much the server's database grew.
    """

    workers: int
    models: int
    seconds: float
    cpu_seconds: float
    peak_memory: int
    release_bytes: int
    database_bytes: int


class Memory(threading.Thread):
    """Samples the memory of process trees until it is told to end."""

    def __init__(self, roots: list[int]) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._roots, self._over = roots, threading.Event()

    def run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.peak = max(self.peak, sum(map(_held, self._roots)))

    def end(self) -> int:
        self._over.set()
        self.join()
        return self.peak


def _held(root: int) -> int:
    total = 0
    try:
        processes = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def measure(folder: Path, workers: int, work: Path, environment: Mapping[str, str]) -> Figures:
    """Starts so many workers, has the models released by them, and stops them."""
    releases, database = work / f"releases-{workers}", Path(environment["PREFECT_HOME"]) / "prefect.db"
    terms = work / "release.toml"
    terms.write_text(_TERMS, "utf-8")
    command = [str(BIN / "prefect"), "worker", "start", "--pool", "paritygate", "--type", "process"]
    command += ["--work-queue", "cpu", "--limit", "1"]
    size, cpu = database.stat().st_size, _children_cpu()
    with ExitStack() as started:
        pids = []
        for _ in range(workers):
            process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            started.callback(stop, process)
            pids.append(process.pid)
        memory = Memory(pids)
        memory.start()
        fleet = [str(BIN / "paritygate"), "fleet", str(folder), "-o", str(releases), "--config", str(terms)]
        seconds = timed([*fleet, "--at-once", str(2 * workers)], work, environment)
        peak = memory.end()
    return Figures(
        workers=workers,
        models=len(list(folder.iterdir())),
        seconds=seconds,
        cpu_seconds=_children_cpu() - cpu,
        peak_memory=peak,
        release_bytes=sum(file.stat().st_size for file in releases.rglob("*") if file.is_file()),
        database_bytes=database.stat().st_size - size,
    )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stamped(model: Path, copy: Path, number: int) -> None:
    """Copies a `.keras` file with other times in it: of one digest, no two are released at once."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(copy, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            member.date_time = (2000, 1, 1, number // 1800, number // 30 % 60, number % 30 * 2)
            target.writestr(member, content)


def table(rows: list[Figures]) -> str:
    """Returns the figures as Markdown."""
    lines = ["| workers | models | wall s | models per hour | to one worker | CPU s per model | peak memory GiB |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        speed, hourly = rows[0].seconds / row.seconds, 3600 * row.models / row.seconds
        lines.append(
            f"| {row.workers} | {row.models} | {row.seconds:.0f} | {hourly:.0f} | {speed:.2f} | "
            f"{row.cpu_seconds / row.models:.1f} | {row.peak_memory / 2**30:.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=ROOT / "examples" / "digits" / "digits.keras")
    parser.add_argument("--models", type=int, default=12, help="how many (default 12)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="how many, in turn (default 1 2)")
    parser.add_argument("--record", type=Path, help="file for the figures as JSON")
    arguments = parser.parse_args()
    if others := alive():
        print("in addition to this: processes of this environment\n" + "\n".join(others), file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="paritygate-fleet-") as scratch:
        work = Path(scratch)
        folder = work / "models"
        folder.mkdir()
        for number in range(arguments.models):
            stamped(arguments.model, folder / f"model{number:03}.keras", number)
        with prefect_server(work / "prefect") as environment:
            timed([PYTHON, "-m", "flows.cli", "server", "deploy"], ROOT, environment)
            time.sleep(1)
            rows = [measure(folder, workers, work, environment) for workers in arguments.workers]
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    print(f"{arguments.model.name}, {machine}\n\n{table(rows)}")
    if arguments.record:
        record = {"model": arguments.model.name, "machine": machine, "fleets": [asdict(row) for row in rows]}
        arguments.record.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
