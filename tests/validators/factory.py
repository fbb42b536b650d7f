"""Examples of the records a release is made of, complete and plausible; a test names only what it is about."""

from dataclasses import replace
from datetime import date

from exporters.contract import Artifact, Finding, Signature, TensorSpec, WeightDifference, WeightsRecord
from exporters.jobs import Attempt
from validators.contract import (
    BaselineRecord,
    Cell,
    ComparisonBasis,
    Decisions,
    Domain,
    Noise,
    OutputVariation,
    Placement,
    PolicyRecord,
    Reason,
    RegressionLimits,
    Requirement,
    SampleSet,
    Skip,
    Task,
    TensorDiff,
    Tolerance,
    Verdict,
    Worst,
)
from validators.gate.verdict import judge
from validators.release import attestations
from validators.release.attestations import AttestedCells, Machine
from validators.release.manifest import SCHEMA_VERSION, Manifest, ModelRecord

DIGEST = "5f" * 32
TOLERANCE = Tolerance(atol=1e-5, rtol=1e-4, reason="default for float32: kernels add up in different orders")
SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", dtype="float32", shape=(None, 8, 8, 1), native="image"),),
    outputs=(TensorSpec(name="digit", dtype="float32", shape=(None, 10), native="digit"),),
)
WEIGHTS = WeightsRecord(weights=14, exact=4, folded=10, ulps=1.5, unmatched={}, computed=0, differences=())
ARTIFACTS = {
    "saved_model/default": "artifacts/saved_model/default",
    "tflite/dynamic": "artifacts/tflite/dynamic/model.tflite",
    "tflite/batch1": "artifacts/tflite/batch1/model.tflite",
    "tfjs/default": "artifacts/tfjs/default",
    "onnx/default": "artifacts/onnx/default/model.onnx",
}
RUNTIMES = {
    "saved_model": ("tensorflow",),
    "tflite": ("litert-xnnpack", "litert-reference"),
    "tfjs": ("tfjs-wasm", "tfjs-cpu"),
    "onnx": ("onnxruntime",),
}
REQUIRED = tuple(
    Requirement(format=format_, runtime=runtime, device="cpu")
    for format_, runtimes in RUNTIMES.items()
    for runtime in runtimes
)
SAMPLES = (
    SampleSet(name="held_out", rows=360, batch=32, origin="user"),
    SampleSet(name="seeded", rows=16, batch=16, origin="seeded", seed=7, dynamic={"image[1]": 8}),
)
GROUNDS = ComparisonBasis(
    domains={"image": Domain(low=-1.0, high=1.0, whole=False, why="nothing in the model says more")},
    dropped={"beyond": "the original fails over it"},
    noise={sample_set.name: {"digit": Noise(floor=6e-8, scale=1.0, rows=256)} for sample_set in SAMPLES},
    coverage={"digit": OutputVariation(spread=0.9, scale=1.0, weak=False)},
    task=Task(metric="accuracy", output="digit", original=0.97, rows=360),
)
MODEL = ModelRecord(
    name="digits.keras",
    digest=DIGEST,
    size=123_456,
    keras_version="3.15.1",
    layers=9,
    parameters=25_000,
    signature=SIGNATURE,
)


def artifact(key="tflite/dynamic", **changes):
    """An exported artifact; `key` is `format/variant`."""
    format_, variant = key.split("/")
    exported = Artifact(
        format=format_,
        variant=variant,
        status="exported",
        path=ARTIFACTS.get(key, f"artifacts/{key}"),
        digest=DIGEST,
        size=102_400,
        signature=SIGNATURE,
        source=DIGEST,
        options={"opset": 18} if format_ == "onnx" else {},
        toolchain={"tensorflow": "2.21.0"},
        weights=WEIGHTS,
        seconds=0.6,
    )
    return replace(exported, **changes)


def limited_artifact(key="tflite/dynamic", **changes):
    """An artifact that its target cannot express."""
    nothing = {
        "status": "limited",
        "path": "",
        "digest": "",
        "size": 0,
        "signature": None,
        "options": {},
        "weights": None,
    }
    return artifact(key, **{**nothing, "reason": "TF Lite has no string ops", **changes})


def finding(**changes):
    """A blocking finding."""
    flex = Finding(
        code="flex-op",
        blocking=True,
        message="needs the Flex ops FlexErf, FlexStringSplit",
        way_out="export the batch1 variant",
    )
    return replace(flex, **changes)


def weight_difference(**changes):
    """One weight that is another one in the artifact."""
    found = WeightDifference(
        kind="changed",
        weight="conv2d/kernel",
        layer="conv2d",
        tensor="conv2d_1/convolution",
        elements=1,
        ulps=1,
        max_abs=1.5e-8,
    )
    return replace(found, **changes)


def diff(**changes):
    """One output within its tolerance."""
    close = TensorDiff(
        name="digit",
        sample_set="held_out",
        problem="",
        message="",
        elements=3600,
        failing=0,
        max_abs=1.2e-07,
        max_rel=3.4e-06,
        nonfinite_mismatches=0,
        worst=Worst(index=(3, 7), reference="0.25", actual="0.2500001"),
        tolerance=TOLERANCE,
        noise=6e-8,
        needed=1.1e-07,
        sqnr_db=131.5,
        cosine=1.0,
        decisions=Decisions(compared=360, ties=0, top1=360, topk=360, k=5, flips=()),
    )
    return replace(close, **changes)


def failed_diff(**changes):
    """One output beyond its tolerance."""
    return diff(
        **{
            "problem": "tolerance exceeded",
            "message": "12 of 3600 elements of `digit` are beyond the tolerance",
            "failing": 12,
            "max_abs": 0.31,
            "max_rel": 4.5,
            "worst": Worst(index=(3, 7), reference="0.25", actual="0.56"),
            **changes,
        }
    )


def cell(key="tflite/dynamic", runtime="litert-xnnpack", **changes):
    """A passed cell on the CPU; `key` is the artifact's `format/variant`."""
    format_, variant = key.split("/")
    passed = Cell(
        format=format_,
        variant=variant,
        runtime=runtime,
        device="cpu",
        status="passed",
        placement=Placement(device="cpu", runtime="ai-edge-litert 2.3.0", adapter="XNNPACK", details={"threads": "2"}),
        diffs=(diff(), diff(sample_set="seeded", elements=160)),
        rows=sum(sample_set.rows for sample_set in SAMPLES),
        seconds=0.4,
        log=f"logs/{format_}-{variant}-{runtime}-cpu.log",
    )
    return replace(passed, **changes)


def slow(why="70 s were spent"):
    """A sample set that a cell had no time for."""
    return Skip(kind="too slow", why=why)


def other_batch(why="fed in batches of 7, the artifact takes 1"):
    """A sample set whose batch the artifact does not take."""
    return Skip(kind="other batch", why=why)


def failed_cell(key="tflite/dynamic", runtime="litert-xnnpack", **changes):
    """A cell that ran and contradicts equality."""
    diffs = (failed_diff(),)
    return cell(
        key,
        runtime,
        **{
            "status": "failed",
            "reason": "tolerance exceeded",
            "message": diffs[0].message,
            "diffs": diffs,
            **changes,
        },
    )


def cell_without_run(status, key="tflite/dynamic", runtime="litert-xnnpack", **changes):
    """A cell that compared nothing: `limited`, `errored` or `unavailable`."""
    reasons = {"limited": "no string ops", "errored": "timeout", "unavailable": "no such runtime"}
    return cell(
        key,
        runtime,
        **{
            "status": status,
            "reason": reasons[status],
            "message": f"the cell did not run: {reasons[status]}",
            "placement": None,
            "diffs": (),
            "rows": 0,
            **changes,
        },
    )


def passed_cells():
    """One passed cell for every artifact in each of its runtimes."""
    return tuple(cell(key, runtime) for key in ARTIFACTS for runtime in RUNTIMES[key.split("/")[0]])


def refused(*reasons, required=REQUIRED):
    """A verdict with these reasons against the release."""
    return Verdict(passed=False, reasons=reasons, required=required)


def reason(code="tolerance exceeded", subject="tflite/dynamic litert-xnnpack cpu", **changes):
    """Why the gate refused."""
    return replace(Reason(code=code, subject=subject, message=f"{subject}: {code}"), **changes)


def attempt(**changes):
    """A job that ran out of time and was done again."""
    ended = Attempt(job="export-onnx-default", status="timeout", message="no answer within 300 s", seconds=300.04)
    return replace(ended, **changes)


def manifest(**changes):
    """A released model: five artifacts, eight passed cells, no files yet."""
    released = Manifest(
        schema_version=SCHEMA_VERSION,
        paritygate="0.1.0",
        created="2025-03-01T12:00:00Z",
        platform="Linux x86_64, Python 3.11.7",
        processor="A processor",
        toolchain={"keras": "3.15.1", "tensorflow": "2.21.0", "onnxruntime": "1.31.1"},
        model=MODEL,
        asked="a5" * 32,
        policy=PolicyRecord(
            required=REQUIRED,
            formats=tuple(RUNTIMES),
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
            elsewhere=(),
        ),
        samples=SAMPLES,
        grounds=GROUNDS,
        artifacts=tuple(artifact(key) for key in ARTIFACTS),
        cells=passed_cells(),
        verdict=Verdict(passed=True, reasons=(), required=REQUIRED),
        baseline=None,
        seconds={"export": 4.2, "validate": 7.9},
        retried=(),
        resumed=(),
        files=(),
    )
    return replace(released, **changes)


def judged(  # noqa: PLR0913 - each is a fact that some test is about
    *,
    cells,
    artifacts,
    required,
    sample_sets=SAMPLES,
    outputs=("digit",),
    attested=(),
    problems=(),
    comparisons=(),
    limits=None,
    grounds=None,
    today=date.max,
    **policy,
):
    """The gate's verdict over a manifest of these facts; `policy` is what it sets beside them."""
    base = manifest()
    signature = Signature(
        inputs=SIGNATURE.inputs, outputs=tuple(replace(SIGNATURE.outputs[0], name=name) for name in outputs)
    )
    baseline = BaselineRecord(
        digest=DIGEST,
        model="digits.keras",
        created="2025-02-01T12:00:00Z",
        headline="RELEASED",
        limits=limits or RegressionLimits(),
        comparisons=tuple(comparisons),
    )
    facts = replace(
        base,
        model=replace(MODEL, signature=signature),
        policy=replace(base.policy, required=tuple(required), **policy),
        samples=tuple(sample_sets),
        grounds=grounds or ComparisonBasis(),
        artifacts=tuple(artifacts),
        cells=tuple(cells),
        baseline=baseline,
    )
    brought = [attestation(cells=tuple(attested))] if attested else []
    return judge(facts, brought, problems=problems, today=today)


def attestation(**changes):
    """Cells that another machine proved."""
    machine = Machine(host="far", platform="Linux", processor="A processor", cards=(), adapters=(), runtimes=())
    brought = AttestedCells(
        schema_version=attestations.SCHEMA_VERSION,
        manifest=DIGEST,
        paritygate="0.1.0",
        created="2025-03-02T12:00:00Z",
        kind="cells",
        machine=machine,
        cells=(),
        seconds=1.0,
    )
    return replace(brought, **changes)


def with_cell(changed, *, verdict=None):
    """The released model with one cell replaced by its namesake."""
    cells = tuple(changed if c.key == changed.key else c for c in passed_cells())
    return manifest(cells=cells, verdict=verdict or refused(reason(changed.reason, changed.key)))
