"""Runs one exporter, checks the artifact that it wrote, and compares the stored weights with the model's.

In: an `ExportRequest`, from `flows.pipeline.exports`, in a worker process. Out: the artifact's folder, and its record.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from exporters.contract import Finding, Signature, WeightsRecord
from exporters.formats.contract import ExportSource, Options
from exporters.formats.registry import row_of
from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import recorded_rewrites, rewrite_findings
from exporters.preprocessing.description import FILE, names_of
from exporters.source.model_source import ModelSource
from exporters.target_limits import limited
from exporters.weights.match import match
from exporters.weights.source_weights import read_weights, with_constants
from exporters.weights.weight_layout import WeightLayout

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Names one artifact to make, its source and its destination.

    Attributes:
        artifact: the row's key, `format/variant`.
        model: the admitted model.
        graph: folder of the lowered graph; None where the row starts from the model.
        destination: folder to create.
        options: see `Artifact.options`.
        shapes: input of the model -> its shape, for a variant whose every axis has a length.
        weights: folder from `exporters.weights.source_weights.write_weights`, to compare the stored weights with;
            None compares nothing.
    """

    artifact: str
    model: ModelSource
    graph: Path | None
    destination: Path
    options: Options
    shapes: Mapping[str, tuple[int, ...]] | None = None
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Describes the artifact that an exporter wrote.

    Attributes:
        signature: of the artifact.
        findings: the rewrites that were applied, and the findings of the check; none of them blocks.
        weights: comparison of the stored weights with the source's; None unless asked for.
        preprocessing: see `Artifact.preprocessing`.
    """

    signature: Signature
    findings: tuple[Finding, ...]
    weights: WeightsRecord | None
    preprocessing: Literal["", "preprocessing.json"]


def export(request: ExportRequest) -> Exported:
    """Runs one exporter and checks that the artifact's runtimes can run it.

    Raises:
        Limited: the exporter or the check found that the target cannot express the model.
        RuntimeError: the check found a fault that no limit explains.
    """
    exporter = row_of(request.artifact).exporter
    source = ExportSource(model=request.model, graph=request.graph, shapes=request.shapes)
    shutil.rmtree(request.destination, ignore_errors=True)  # a killed attempt may have left one
    with recorded_rewrites() as names:
        signature = exporter.export(source, request.destination, request.options)
    preprocessing = () if request.graph is None else _copy_preprocessing(request.graph, request.destination)
    findings: tuple[Finding, ...] = (*rewrite_findings(names), *exporter.check(request.destination, signature))
    for finding in findings:
        if finding.blocking:
            if finding.limit:
                raise limited(finding.limit, finding.message)
            raise RuntimeError(f"{finding.code}: {finding.message}")
    weights = None
    if request.weights is not None:
        weights = _compared(exporter.WEIGHTS, request.weights, request.graph, exporter.constants(request.destination))
    return Exported(
        signature=signature, weights=weights, findings=findings, preprocessing=FILE if preprocessing else ""
    )


def _copy_preprocessing(graph: Path, destination: Path) -> tuple[str, ...]:
    """Copies the files that describe the steps before a split model's core; returns their names."""
    names = names_of(graph)
    for name in names:
        shutil.copyfile(graph / name, destination / name)
    return names


def _compared(
    layout: WeightLayout, weights: Path, graph: Path | None, stored: "Mapping[str, np.ndarray]"
) -> WeightsRecord:
    """Compares the constants that an artifact stores with the original's weights."""
    original = read_weights(weights)
    record = match(layout, original, stored)
    if not record.differences or graph is None:
        return record
    # A constant in the model's own code is no weight. Only an artifact that differs pays for reading the graph again.
    return match(layout, with_constants(original, Graph.read(graph).graph_def), stored)
