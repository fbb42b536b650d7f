"""A release on disk that needs no TensorFlow: one ONNX matrix product, its evidence, and a manifest that agrees.

Its own cell is a record; whoever verifies it runs the artifact for real.
"""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import factory
import numpy as np

from exporters.contract import Artifact, Signature, TensorSpec
from exporters.files.hashing import digest_tree
from validators.contract import Cell, ComparisonBasis, Noise, Placement, PolicyRecord, Reason, Requirement, SampleSet
from validators.gate.approvals import apply_approvals
from validators.gate.verdict import judge
from validators.release.evidence import reference_folder, withhold, write_evidence, write_noise
from validators.release.integrity import record_files
from validators.release.manifest import MANIFEST, dump
from validators.samples.tensor_files import write_tensors

CPU = Requirement(format="onnx", runtime="onnxruntime", device="cpu")
GPU = Requirement(format="onnx", runtime="onnxruntime", device="gpu")
KEY = "onnx/default onnxruntime cpu"
SET = SampleSet(name="seeded_batch2", rows=6, batch=2, origin="seeded", seed=7)
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 4), native="x"),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 3), native="y"),),
)
WEIGHTS = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
NOISE = {SET.name: {"y": Noise(floor=6e-8, scale=3.0, rows=6)}}
CARD = Placement(device="gpu", runtime="onnxruntime 1.31.1", adapter="CUDAExecutionProvider (A card)")


def make(folder, *, elsewhere=(), off_by=0.0, reasons=(), own=None, **policy):
    """Writes a release and returns its folder.

    Args:
        folder: where to; made here.
        elsewhere: what the policy demands of attestations.
        off_by: how far the recorded reference lies from what the artifact computes.
        reasons: recorded against the release beside those that its cells give.
        own: the release's own cell; a passed one by default.
        policy: further fields of the policy.
    """
    artifact = _artifact(folder)
    rows = np.random.default_rng(7).normal(size=(SET.rows, 4)).astype("float32")
    write_evidence(folder, signature=SIGNATURE, sets=(SET,), samples={SET.name: {"x": rows}})
    write_tensors(reference_folder(folder, SET.name), {"y": rows @ WEIGHTS + np.float32(off_by)})
    write_noise(folder, NOISE)
    if policy.get("evidence") == "digests":
        withhold(folder)
    own = own or cell()
    record = PolicyRecord(
        required=(CPU,),
        formats=("onnx",),
        atol=None,
        rtol=None,
        weak_evidence="report",
        task_margin=None,
        sample_seconds=60.0,
        software_seconds=30.0,
        seconds=900.0,
        memory_gib=12.0,
        retries=1,
        gpu="any",
        tf32=False,
        elsewhere=tuple(elsewhere),
    )
    record = replace(record, **policy)
    manifest = factory.manifest(
        model=replace(factory.MODEL, name="small.keras", signature=SIGNATURE),
        asked="a5" * 32,
        policy=record,
        samples=(SET,),
        grounds=ComparisonBasis(noise=NOISE),
        artifacts=(artifact,),
        cells=(own,),
        files=record_files(folder),
    )
    verdict = judge(manifest, today=date(2026, 11, 27))
    reasons = (*apply_approvals(verdict.reasons, (), demanded=record.approval).standing, *reasons)
    manifest = replace(manifest, verdict=replace(verdict, passed=not reasons, reasons=reasons))
    (folder / MANIFEST).write_bytes(dump(manifest))
    return folder


def cell(device="cpu", **changes):
    """A passed cell of the artifact in ONNX Runtime."""
    place = CARD if device == "gpu" else Placement(device="cpu", runtime="onnxruntime 1.31.1", adapter="CPUExecution")
    diff = factory.diff(name="y", sample_set=SET.name, elements=18, worst=None)
    passed = Cell(
        format="onnx",
        variant="default",
        runtime="onnxruntime",
        device=device,
        status="passed",
        placement=place,
        diffs=(diff,),
        rows=SET.rows,
        seconds=0.1,
    )
    return replace(passed, **changes)


def failed_cell(device="gpu", **changes):
    """A cell of the artifact that ran and differs."""
    diff = factory.failed_diff(name="y", sample_set=SET.name)
    fields = {"status": "failed", "reason": diff.problem, "message": diff.message, "diffs": (diff,), **changes}
    return cell(device, **fields)


def broken_reason():
    """Something that stood against the release and that its records alone do not show."""
    return Reason(code="digest mismatch", subject="release", message="artifacts/onnx/default: the bytes changed")


def edit(folder, change):
    """Changes the manifest's JSON tree in place, as somebody with an editor would."""
    path = folder / MANIFEST
    tree = json.loads(path.read_text("utf-8"))
    change(tree)
    path.write_text(json.dumps(tree), "utf-8")


def replaced_once_read(monkeypatch, folder, other):
    """Lets somebody put the manifest of another release in the place of this one's as soon as that has been read."""
    read, manifest = Path.read_bytes, (other / MANIFEST).read_bytes()

    def reading(path):
        raw = read(path)
        if path == folder / MANIFEST:
            path.write_bytes(manifest)
        return raw

    monkeypatch.setattr(Path, "read_bytes", reading)


def _artifact(folder):
    from onnx import TensorProto, helper, numpy_helper, save

    place = folder / "artifacts" / "onnx" / "default"
    place.mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    save(model, str(place / "model.onnx"))
    digest, size = digest_tree(place)
    return Artifact(
        format="onnx",
        variant="default",
        status="exported",
        path="artifacts/onnx/default",
        digest=digest,
        size=size,
        signature=SIGNATURE,
        source=factory.DIGEST,
        options={},
        toolchain={},
        weights=factory.WEIGHTS,
        seconds=0.1,
    )
