"""The rows that need an NVIDIA card: what keeps a machine from them, and that none of them passes on the CPU.

No card is needed here. What a card would change is faked, each time beside a run of the real libraries on the CPU.
"""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cuda_jobs
import pytest
from pydantic import TypeAdapter

from exporters.contract import Signature
from exporters.errors import Broken
from exporters.formats.registry import EXPORTERS
from exporters.jobs import Job, Workers
from exporters.source.model_source import ModelSource
from flows.config.settings import load_settings
from flows.pipeline.exports import Exports, original
from flows.pipeline.workspace import Workspace
from validators.cells.findings import findings
from validators.cells.job import CellRequest, run_cell
from validators.hardware import graphics_cards
from validators.hardware.graphics_cards import Card
from validators.release.evidence import read_evidence
from validators.runtimes import availability, ort, tensorflow_device
from validators.runtimes.availability import missing
from validators.runtimes.registry import ORIGINAL, RUNTIMES, runtime

CUDA = [row for row in RUNTIMES if row.accelerator == "cuda"]
H200 = Card(uuid="GPU-6a1c", name="NVIDIA H200", driver="580.65.06")
CPU_DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"
GPU_DEVICE = "/job:localhost/replica:0/task:0/device:GPU:0"


@pytest.fixture
def machine(monkeypatch):
    """A machine with these cards; cuDNN, a CUDA build of ONNX Runtime and wheels on request."""

    def of(*cards, visible=None, cudnn=False, ort_cuda=False, wheels=("tensorflow",), nodes=()):
        for module in (availability, ort, tensorflow_device):
            monkeypatch.setattr(module, "cards", lambda: cards if visible is None else ())
        monkeypatch.setattr(availability, "installed_cards", lambda: cards)
        monkeypatch.setattr(availability, "has_hardware", lambda: bool(cards or nodes))
        monkeypatch.setattr(availability, "_has_cudnn", lambda: cudnn)
        monkeypatch.setattr(availability, "_ort_has_cuda", lambda: ort_cuda)
        monkeypatch.setattr(availability, "installed", lambda name: "2.21.0" if name in wheels else "")
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return of


def test_there_is_a_row_for_the_original_for_saved_model_and_for_onnx_each_with_and_without_tf32():
    assert Counter((row.format, row.tf32) for row in CUDA) == {
        (format_, tf32): 1 for format_ in (ORIGINAL, "saved_model", "onnx") for tf32 in (False, True)
    }
    assert {row.fork_server for row in CUDA} == {None}  # a process that touches CUDA must not be a fork
    assert {row.options.get("tf32") for row in CUDA if row.tf32} == {"on"}
    assert not any("tf32" in row.options for row in CUDA if not row.tf32)


# What keeps a machine from them.


@pytest.mark.parametrize("row", CUDA, ids=lambda row: f"{row.format} {row.name}")
def test_a_machine_without_a_card_is_told_where_to_run_them(machine, row):
    machine(cudnn=True, ort_cuda=True)
    assert missing(row) == (
        "this machine has no NVIDIA card, or no driver for it: on a machine that has one, "
        "`paritygate verify RELEASE_DIR --device gpu --attest` adds these cells"
    )


def test_a_card_that_the_user_hid_is_named_with_the_way_to_show_it(machine):
    machine(H200, visible="-1", cudnn=True, ort_cuda=True)
    assert missing(CUDA[0]) == (
        "CUDA_VISIBLE_DEVICES=-1 hides the 1 NVIDIA card of this machine: "
        "unset it, or name one, e.g. CUDA_VISIBLE_DEVICES=GPU-6a1c"
    )


@pytest.mark.parametrize("row", CUDA, ids=lambda row: f"{row.format} {row.name}")
def test_with_a_card_and_its_libraries_nothing_is_missing(machine, row):
    machine(H200, cudnn=True, ort_cuda=True)
    assert missing(row) == missing(row, gpu="hardware") == ""


def test_a_build_of_onnx_runtime_without_cuda_is_told_from_one_with(machine, tmp_path, monkeypatch):
    machine(H200, cudnn=True)
    told = missing(runtime("onnxruntime", "gpu"))
    assert told.startswith("the installed onnxruntime was built without CUDA")
    assert told.endswith("pip uninstall --yes onnxruntime onnxruntime-gpu, then pip install 'paritygate[ort-cuda]'")
    monkeypatch.undo()
    for built, name in ((True, "libonnxruntime_providers_cuda.so"), (False, "libonnxruntime_providers_shared.so")):
        capi = tmp_path / name / "capi"
        capi.mkdir(parents=True)
        (capi / name).touch()
        spec = SimpleNamespace(submodule_search_locations=[str(tmp_path / name)])
        monkeypatch.setattr(availability, "find_spec", lambda _name, spec=spec: spec)
        assert availability._ort_has_cuda() == built


def test_the_installed_onnx_runtime_is_the_one_without_cuda():
    assert not availability._ort_has_cuda()  # requirements.lock has `ort`; locks/ort-cuda.lock the other


def test_missing_cuda_libraries_are_named_with_what_installs_them(machine):
    machine(H200, ort_cuda=True)
    assert missing(runtime("onnxruntime", "gpu")) == (
        "ONNX Runtime's CUDA libraries are not installed: pip install 'paritygate[ort-cuda]'"
    )
    for name in ("keras", "tensorflow"):
        told = missing(runtime(name, "gpu"))
        assert told.startswith("TensorFlow's CUDA libraries are not installed")
        assert told.endswith("pip install 'tensorflow[and-cuda]==2.21.0'")
    machine(H200, ort_cuda=True, wheels=("tensorflow-cpu",))
    assert missing(runtime("tensorflow", "gpu")) == (
        "tensorflow-cpu is built without CUDA: pip uninstall --yes tensorflow-cpu, "
        "then pip install 'tensorflow[and-cuda]==2.21.*'"
    )


def test_cudnn_counts_as_a_wheel_and_where_the_loader_looks(monkeypatch, tmp_path):
    monkeypatch.setattr(availability, "installed", lambda name: "")
    monkeypatch.setattr(availability, "find_library", lambda name: None)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path / 'none'}:{tmp_path}")
    (tmp_path / "libcublas.so.13").touch()
    assert not availability._has_cudnn()
    (tmp_path / "libcudnn.so.9").touch()
    assert availability._has_cudnn()
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert not availability._has_cudnn()
    monkeypatch.setattr(availability, "installed", lambda name: "9.28" if name == "nvidia-cudnn-cu13" else "")
    assert availability._has_cudnn()


def test_a_package_that_is_not_installed_is_named_before_its_build_is_looked_at(machine, monkeypatch):
    machine(H200, cudnn=True)
    monkeypatch.setattr(availability, "find_spec", lambda _name: None)
    assert missing(runtime("onnxruntime", "gpu")) == (
        "the package onnxruntime-gpu is not installed: pip install 'paritygate[ort-cuda]'"
    )


def test_under_a_policy_for_real_cards_a_software_adapter_is_no_device(machine):
    webgl, wasm = runtime("tfjs-webgl", "gpu"), runtime("tfjs-wasm", "cpu")
    machine()
    assert missing(webgl, gpu="hardware").startswith(
        "policy.gpu asks for a real card and this machine has only software adapters: on a machine that has one, "
    )
    assert "real card" not in missing(webgl) + missing(wasm, gpu="hardware")
    machine(nodes=(Path("/dev/dri/renderD128"),))
    assert "real card" not in missing(webgl, gpu="hardware")


def test_browser_packages_are_looked_up_one_by_one(monkeypatch):
    row = runtime("tfjs-webgpu", "gpu")
    monkeypatch.setattr("validators.hardware.chromium.find_chromium", lambda: Path("/usr/bin/chromium"))
    lacks = {"@tensorflow/tfjs-backend-webgpu"}
    monkeypatch.setattr("validators.web.page_session.package_version", lambda name: None if name in lacks else "4.22.0")
    assert missing(row).startswith("the browser packages @tensorflow/tfjs-backend-webgpu are not installed: ")
    lacks.clear()
    assert missing(row) == ""


# Their processes.


def seen_by(tmp_path, **job):
    with Workers(tmp_path, tmp_path, fork_servers={"light": ("json",)}) as workers:
        return workers.run(Job(name="job", function=cuda_jobs.environment, request={}, **job)).unwrap()


@pytest.fixture
def _with_cards(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


@pytest.mark.usefixtures("_with_cards")
@pytest.mark.parametrize("fork_server", [None, "light"], ids=["fresh", "forked"])
def test_a_job_that_asks_for_no_card_sees_none(tmp_path, fork_server):
    assert seen_by(tmp_path, fork_server=fork_server)["CUDA_VISIBLE_DEVICES"] == "-1"


@pytest.mark.usefixtures("_with_cards")
def test_a_job_that_asks_for_a_card_sees_that_one_and_gets_the_rest_of_the_environment(tmp_path):
    seen = seen_by(tmp_path, environment={"CUDA_VISIBLE_DEVICES": "GPU-6a1c"})
    assert seen == {"CUDA_VISIBLE_DEVICES": "GPU-6a1c", "KERAS_BACKEND": "tensorflow"}


def test_a_fork_cannot_be_given_an_environment():
    with pytest.raises(ValueError, match="a fork of the fork server light keeps its environment"):
        Job(
            name="job",
            function=cuda_jobs.environment,
            request={},
            fork_server="light",
            environment={"CUDA_VISIBLE_DEVICES": "0"},
        )


# Proof of place, with what a card would report.


def node(op, device):
    return SimpleNamespace(op=op, device=device)


def test_nodes_that_compute_are_counted_by_the_device_they_were_put_on():
    nodes = [node("MatMul", GPU_DEVICE), node("Where", CPU_DEVICE), node("Where", CPU_DEVICE)]
    nodes += [node("_MklNativeConv2D", CPU_DEVICE), node("_MklSoftmax", CPU_DEVICE)]
    nodes += [node(op, CPU_DEVICE) for op in ("_Arg", "_Retval", "_Send", "_HostRecv", "Const", "NoOp", "Switch")]
    assert tensorflow_device.computing(nodes) == {
        ("GPU", "MatMul"): 1,
        ("CPU", "Where"): 2,
        ("CPU", "Conv2D"): 1,
        ("CPU", "Softmax"): 1,
    }
    assert tensorflow_device.computing([node("MatMul", "")]) == {("an unnamed device", "MatMul"): 1}


class Session:
    """An ONNX Runtime session on a card, as far as a placement asks it."""

    def __init__(self, nodes, *, tf32="0"):
        self._nodes = nodes
        self._tf32 = tf32

    def get_outputs(self):
        return []

    def get_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_provider_options(self):
        return {"CUDAExecutionProvider": {"use_tf32": self._tf32, "cudnn_conv_algo_search": "HEURISTIC"}}

    def get_provider_graph_assignment_info(self):
        return [
            SimpleNamespace(ep_name=provider, get_nodes=lambda op=op: [SimpleNamespace(op_type=op)])
            for provider, op in self._nodes
        ]


def placed(*nodes, asked="gpu", **options):
    return ort.OrtRuntime(Session(nodes, **options), Signature(inputs=(), outputs=()), asked).placement


def test_a_session_on_a_card_names_the_card_and_what_the_cpu_took(machine):
    machine(H200)
    placement = placed(("CUDAExecutionProvider", "Conv"), *[("CPUExecutionProvider", "Shape")] * 2)
    assert (placement.device, placement.adapter) == ("gpu", "CUDAExecutionProvider (NVIDIA H200)")
    assert placement.fallbacks == {"Shape": 2}
    assert {"TF32": "off", "convolution algorithms": "HEURISTIC", "driver": "580.65.06"}.items() <= (
        placement.details.items()
    )
    (finding,) = findings(runtime("onnxruntime", "gpu"), placement)
    assert finding.message == "the CPU ran 2 Shape of this artifact"
    assert placed(("CUDAExecutionProvider", "Conv"), tf32="1").details["TF32"] == "on"


def test_a_session_that_has_the_card_and_gave_it_no_node_ran_on_the_cpu(machine):
    machine(H200)
    placement = placed(("CPUExecutionProvider", "StringSplit"))
    assert (placement.device, placement.fallbacks) == ("cpu", {"StringSplit": 1})


def test_a_session_in_which_nothing_computes_on_the_card_did_not_run_there(machine):
    machine(H200)
    for nodes in ([], [("CUDAExecutionProvider", "Identity"), ("CUDAExecutionProvider", "MemcpyToHost")]):
        placement = placed(*nodes)
        assert (placement.device, placement.adapter) == ("cpu", "CPUExecutionProvider")


class Tensor:
    device = GPU_DEVICE


def watched(monkeypatch, *graphs):
    """The placement after one call whose outputs lie on a card and for which TensorFlow made these partitions."""
    pytest.importorskip("tensorflow")
    from tensorflow.python.eager import context

    functions = [SimpleNamespace(partition_graphs=[SimpleNamespace(node=nodes) for nodes in graphs])]
    monkeypatch.setattr(context, "export_run_metadata", lambda: SimpleNamespace(function_graphs=functions))
    monkeypatch.setattr(tensorflow_device, "_card", lambda: "CUDA (NVIDIA H200, compute 9.0)")
    watch = tensorflow_device.Watch("gpu")
    watch.note([Tensor()])
    return watch.placement()


@pytest.mark.slow
def test_outputs_that_lie_on_a_card_prove_nothing_without_an_operator_that_computed_there(monkeypatch, machine):
    machine(H200)
    assert watched(monkeypatch, [node("MatMul", GPU_DEVICE)]).device == "gpu"
    assert watched(monkeypatch, [node("Const", GPU_DEVICE), node("Identity", GPU_DEVICE)]).device == "cpu"
    assert watched(monkeypatch, []).device == "cpu"
    assert watched(monkeypatch, [node("MatMul", CPU_DEVICE)]).fallbacks == {"MatMul": 1}
    with pytest.raises(Broken, match="gave out no graph"):
        watched(monkeypatch)


# The real libraries, asked for a card that is not here.


@pytest.fixture(scope="module")
def release(bench):
    """A release of `twins` with its evidence and the two formats that CUDA rows run."""
    model = bench.build("tests.contract.more_models:twins", seed=3)
    settings = load_settings(None, {"model": str(model), "output": str(bench.folder / "cuda.release")})
    exports = Exports(settings, bench.workers, Workspace(settings.release_dir))
    admitted = exports.admit()
    exports.finished.begin("")  # the bench's logs do not lie in the workspace
    lowered = exports.lower(admitted)
    signature = exports.refer(admitted).signature
    rows = [row for row in EXPORTERS if row.key in ("saved_model/default", "onnx/default")]
    artifacts = {row.format: exports.export(row, model=admitted, lowered=lowered) for row in rows}
    folder = exports._workspace.release
    return SimpleNamespace(
        folder=folder,
        artifacts={ORIGINAL: original(admitted, signature), **artifacts},
        paths={ORIGINAL: model, **{name: folder / artifact.path for name, artifact in artifacts.items()}},
        model=admitted.source,
    )


def request(release, row):
    model = TypeAdapter(ModelSource).dump_json(release.model).decode()
    return CellRequest(
        release=release.folder,
        artifact=release.artifacts[row.format],
        path=release.paths[row.format],
        runtime=row.name,
        device=row.device,
        options={"model": model} if row.format == ORIGINAL else {},
        tolerances=(),
        gpu="any",
        sample_seconds=60.0,
        software_seconds=30.0,
        task_output=None,
        metric=None,
    )


def run(bench, release, row):
    return bench.call(run_cell, request(release, row), fork_server=None)


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in CUDA if not row.tf32], ids=lambda row: f"{row.format} {row.name}")
def test_a_cell_that_asked_for_a_card_and_ran_on_the_cpu_fails_and_names_the_operators(bench, release, row):
    done = run(bench, release, row)
    assert (done.status, done.reason) == ("failed", "wrong device")
    products = {"onnx": "Gemm"}.get(row.format, "MatMul")
    assert any(products in operator for operator in done.placement.fallbacks), done.placement.fallbacks
    assert "asked for gpu, ran on cpu" in done.message
    assert all(f"{count} {operator}" in done.message for operator, count in done.placement.fallbacks.items())
    # The numbers are right: it is the place alone that fails the cell.
    assert done.diffs
    assert all(diff.passed for diff in done.diffs)


@pytest.mark.slow
def test_on_the_references_own_device_the_original_has_no_distance_at_all(bench, release):
    done = run(bench, release, runtime("keras", "gpu"))
    assert done.max_abs == 0.0
    assert done.rows == sum(sample_set.rows for sample_set in read_evidence(release.folder).sets)
    assert done.placement.details["graph optimizers"] == "off"


@pytest.mark.slow
def test_tensorflow_takes_one_card_of_several_grows_into_its_memory_and_rounds_nothing(bench, release):
    request = {"folder": str(release.paths["saved_model"]), "device": "gpu", "options": {}}
    told = bench.call("tests.validators.cuda_jobs:settings", request, fork_server=None)
    assert told["visible"] == [[["card one"], "GPU"]]
    assert told["growing"] == [["card one", True]]
    assert (told["tf32"], told["override"], told["details"]["TF32"]) == (False, "0", "off")
    assert told["details"]["float16"].startswith("off")


@pytest.mark.slow
def test_tf32_is_on_where_the_row_says_so_and_the_placement_records_it(bench, release, monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    request = {"folder": str(release.paths["saved_model"]), "device": "gpu", "options": {"tf32": "on"}}
    told = bench.call("tests.validators.cuda_jobs:settings", request, fork_server=None)
    assert (told["tf32"], told["override"], told["details"]["TF32"]) == (True, None, "on")


@pytest.mark.slow
def test_on_the_cpu_tensorflow_is_shown_no_card(bench, release):
    request = {"folder": str(release.paths["saved_model"]), "device": "cpu", "options": {}}
    told = bench.call("tests.validators.cuda_jobs:settings", request)
    assert told["visible"] == [[[], "GPU"]]
    assert (told["growing"], told["details"]) == ([], {})


@pytest.mark.slow
def test_what_onnx_runtime_says_it_placed_is_what_it_runs_also_inside_a_branch(bench, tmp_path):
    told = bench.call("tests.validators.cuda_jobs:planned_and_run", {"folder": str(tmp_path)}, fork_server=None)
    branches_not_taken = {"Sin": 1}
    assert Counter(told["planned"]) == Counter(told["ran"]) + Counter(branches_not_taken)
    assert told["falls_back"] is False


@pytest.mark.slow
@pytest.mark.skipif(bool(graphics_cards.installed_cards()), reason="this machine has a card")
def test_on_this_machine_the_cuda_cells_are_unavailable_and_say_how_to_get_them(bench, release):
    for format_, name in (("saved_model", "tensorflow"), ("onnx", "onnxruntime-tf32")):
        done = bench.cell(release.folder, release.artifacts[format_], runtime(name, "gpu"))
        assert done.status == "unavailable"
        assert "paritygate verify RELEASE_DIR --device gpu" in done.message


def test_importing_the_runtimes_brings_no_framework(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    modules = ["ort", "saved_model", "keras_original", "tensorflow_device"]
    request = {
        "modules": [f"validators.runtimes.{module}" for module in modules] + ["validators.runtimes.availability"]
    }
    with Workers(tmp_path, tmp_path) as workers:
        job = Job(name="job", function=cuda_jobs.imports, request=request)
        assert workers.run(job).unwrap() == []
