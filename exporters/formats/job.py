"""The jobs of the export layer, each run by `exporters.jobs` in a process of its own.

In: a JSON request. Out: a JSON answer; bytes go to the folder the request names.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Finding, Signature, WeightsRecord
from exporters.formats.registry import EXPORTERS, STATIC_EXPORTERS, ExporterRow
from exporters.preprocessing.description import FILE, names_of
from exporters.target_limits import limited


def export(request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one exporter and checks what it wrote for what its runtimes cannot run.

    Args:
        request: `artifact` (a row's key), `source` (path), `destination` (folder to create), `options`; if given,
            `weights`: the folder that `exporters.weights.source_weights.note` wrote, to hold what is stored against.

    Returns:
        `signature` of the artifact; `findings`, none of them blocking: the rewrites that acted, and the check's;
        `weights`: what the artifact stores of the source's, None unless asked; `preprocessing`: the file of the
        artifact that says what has to run before it, empty where nothing has to.

    Raises:
        Limited: the target cannot express the model, by the exporter's or the check's word.
    """
    from exporters.lowering.rewrite_log import noting, rewritten

    row = next(row for row in (*EXPORTERS, *STATIC_EXPORTERS) if row.key == request["artifact"])
    exporter = row.exporter
    source, destination = Path(request["source"]), Path(request["destination"])
    shutil.rmtree(destination, ignore_errors=True)  # of an attempt that was killed
    with noting() as acted:
        signature: Signature = exporter.export(source, destination, request["options"])
    described = names_of(source)
    for name in described:
        shutil.copyfile(source / name, destination / name)
    findings: tuple[Finding, ...] = (*rewritten(acted), *exporter.check(destination, signature))
    for finding in findings:
        if finding.blocking:
            if finding.limit:
                raise limited(finding.limit, finding.message)
            raise RuntimeError(f"{finding.code}: {finding.message}")
    given = request.get("weights")
    weights = _held_against(row, source, Path(given), exporter.constants(destination)) if given else None
    return {
        "signature": TypeAdapter(Signature).dump_python(signature, mode="json"),
        "weights": TypeAdapter(WeightsRecord | None).dump_python(weights, mode="json"),
        "findings": TypeAdapter(tuple[Finding, ...]).dump_python(findings, mode="json"),
        "preprocessing": FILE if described else "",
    }


def _held_against(row: ExporterRow, source: Path, weights: Path, stored: Mapping[str, Any]) -> WeightsRecord:
    """What an artifact stores of the original's weights."""
    from exporters.lowering.graph import Graph
    from exporters.weights.match import match
    from exporters.weights.source_weights import read, with_constants

    original = read(weights)
    found = match(row.exporter.WEIGHTS, original, stored)
    if not found.differences or row.source == "model":
        return found
    # What the model's own code multiplies with is no weight; reading the graph again costs only those that differ.
    return match(row.exporter.WEIGHTS, with_constants(original, Graph.read(source).graph_def), stored)
