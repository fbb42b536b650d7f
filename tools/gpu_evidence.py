"""Builds the tables of docs/gpu-evidence.md from the attestations that a machine with a card added to releases.

In: release directories. Out: Markdown on stdout, one table for each machine:
`python -m tools.gpu_evidence RELEASE_DIR...`.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_SETTINGS = ("TF32", "enforce_f32", "precision", "texture precision", "fully accelerated")


def _attested(releases: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Lists the name of each release with each of its attestations of cells."""
    for release in releases:
        for path in sorted((release / "attestations").glob("cells-*.json")):
            yield release.name.removesuffix(".release"), json.loads(path.read_bytes())


def _row(model: str, cell: Mapping[str, Any]) -> str:
    placement = cell["placement"] or {"adapter": "", "runtime": "", "details": {}, "fallbacks": {}}
    distances = [diff["max_abs"] for diff in cell["diffs"] if diff["max_abs"] is not None]
    details = placement["details"]
    settings = [f"{key} {details[key]}" for key in _SETTINGS if key in details]
    settings += [f"on the CPU: {count} {operator}" for operator, count in placement["fallbacks"].items()]
    outcome = cell["status"] + (f": {cell['reason']}" if cell["reason"] else "")
    columns = [
        model,
        f"`{cell['format']}/{cell['variant']}`",
        f"`{cell['runtime']}`",
        outcome,
        placement["adapter"],
        placement["runtime"],
        "; ".join(settings),
        str(cell["rows"]),
        f"{max(distances):.1e}" if distances else "",
    ]
    return f"| {' | '.join(columns)} |"


def tables(releases: Sequence[Path]) -> str:
    """Builds one section for each machine: its description, and a row for every cell that it ran."""
    machines: dict[str, list[str]] = {}
    for model, attestation in _attested(releases):
        machine = attestation["machine"]
        shown = "; ".join([*machine["cards"], machine["processor"], machine["platform"]])
        rows = [_row(model, cell) for cell in attestation["cells"] if cell["status"] != "unavailable"]
        machines.setdefault(shown, []).extend(rows)
    head = (
        "| model | artifact | cell | outcome | where it ran | runtime | settings | rows | largest distance |\n"
        "| --- | --- | --- | --- | --- | --- | --- | ---: | ---: |"
    )
    return "\n\n".join(f"## {shown}\n\n{head}\n" + "\n".join(rows) for shown, rows in machines.items())


if __name__ == "__main__":
    print(tables([Path(argument) for argument in sys.argv[1:]]))
