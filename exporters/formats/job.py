"""Runs one exporter as a job of its own process, and checks what it wrote."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exporters.contract import Finding, Signature, WeightsRecord
from exporters.formats.registry import EXPORTERS, STATIC_EXPORTERS
from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import noting, rewritten
from exporters.preprocessing.description import FILE, names_of
from exporters.source.model_source import ModelSource
from exporters.target_limits import limited
from exporters.weights.match import match
from exporters.weights.source_weights import read, with_constants
from exporters.weights.weight_layout import WeightLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """One artifact to make.

    Attributes:
        artifact: the row's key, `format/variant`.
        model: the admitted model.
        graph: folder of the lowered graph; None where the row starts from the model.
        destination: folder to create.
        options: see `Artifact.options`.
        shapes: input of the model -> its shape, for a variant whose every axis has a length.
        weights: folder that `exporters.weights.source_weights.note` wrote, to compare the stored weights with; None
            compares nothing.
    """

    artifact: str
    model: ModelSource
    graph: Path | None
    destination: Path
    options: Mapping[str, str | int | bool]
    shapes: Mapping[str, tuple[int, ...]] | None = None
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an exporter made.

    Attributes:
        signature: of the artifact.
        findings: none of them blocking: the rewrites that acted, and the check's.
        weights: what the artifact stores of the source's weights; None unless asked for.
        preprocessing: see `Artifact.preprocessing`.
    """

    signature: Signature
    findings: tuple[Finding, ...]
    weights: WeightsRecord | None
    preprocessing: Literal["", "preprocessing.json"]


def export(request: ExportRequest) -> Exported:
    """Runs one exporter and checks what it wrote for what its runtimes cannot run.

    Raises:
        Limited: the target cannot express the model, by the exporter's or the check's word.
        RuntimeError: the check found a fault that no limit explains.
    """
    row = next(row for row in (*EXPORTERS, *STATIC_EXPORTERS) if row.key == request.artifact)
    exporter = row.exporter
    source = request.graph or request.model.path
    options = {**request.options, "model": request.model, "shapes": request.shapes}
    shutil.rmtree(request.destination, ignore_errors=True)  # of an attempt that was killed
    with noting() as acted:
        signature: Signature = exporter.export(source, request.destination, options)
    described = names_of(source)
    for name in described:
        shutil.copyfile(source / name, request.destination / name)
    findings: tuple[Finding, ...] = (*rewritten(acted), *exporter.check(request.destination, signature))
    for finding in findings:
        if finding.blocking:
            if finding.limit:
                raise limited(finding.limit, finding.message)
            raise RuntimeError(f"{finding.code}: {finding.message}")
    weights = None
    if request.weights is not None:
        weights = _compared(exporter.WEIGHTS, request.weights, request.graph, exporter.constants(request.destination))
    return Exported(signature=signature, weights=weights, findings=findings, preprocessing=FILE if described else "")


def _compared(layout: WeightLayout, weights: Path, graph: Path | None, stored: Mapping[str, Any]) -> WeightsRecord:
    """Compares the constants that an artifact stores with the original's weights."""
    original = read(weights)
    found = match(layout, original, stored)
    if not found.differences or graph is None:
        return found
    # What the model's own code multiplies with is no weight; reading the graph again costs only those that differ.
    return match(layout, with_constants(original, Graph.read(graph).graph_def), stored)
