"""TF Lite in LiteRT.js in a real Chromium, beside LiteRT's reference kernels."""

import re
import shutil
from contextlib import contextmanager

import pytest
from test_litert_gpu import TWINS, agree, batch_of, reference

from exporters.contract import Signature, TensorSpec
from exporters.errors import Broken, Limited, Unavailable
from validators.hardware.chromium import find_chromium
from validators.runtimes import litertjs
from validators.runtimes.litert_log import UNNAMED
from validators.runtimes.registry import runtime as row_of
from validators.web.browser import BrowserHost
from validators.web.page_session import PACKAGES

ACCELERATORS = ("wasm", "webgpu")
ROWS = {name: row_of(f"litertjs-{name}", "gpu" if name == "webgpu" else "cpu") for name in ACCELERATORS}


@pytest.fixture(scope="module")
def host():
    if find_chromium() is None or not PACKAGES.is_dir():
        pytest.fail("these tests need Chromium and the browser packages: run `make setup`")
    with BrowserHost() as started:
        yield started


@pytest.fixture(params=ACCELERATORS)
def options(request, host):
    return {"accelerator": request.param, "endpoint": host.endpoint()}


@pytest.fixture
def webgpu(host):
    return {"accelerator": "webgpu", "endpoint": host.endpoint()}


def load(proof, key, options, *, signature=None):
    artifact = proof.artifacts[key]
    folder = proof.release / artifact.path
    return litertjs.load(folder, signature or artifact.signature, ROWS[options["accelerator"]].device, options)


def one(dtype, *shape):
    return Signature(inputs=(TensorSpec(name="x", dtype=dtype, shape=shape, native="x"),), outputs=())


@pytest.mark.slow
def test_both_accelerators_agree_with_the_reference_kernels_and_say_where_and_how_they_ran(bench, options):
    proof = bench.proof("single_input")
    with load(proof, "tflite/batch1", options) as loaded, reference(proof, "tflite/batch1") as kernels:
        for seed in range(3):
            rows = batch_of(proof.signature, 1, seed)
            agree(loaded.infer(rows), kernels.infer(rows))
        placement = loaded.placement
    row = ROWS[options["accelerator"]]
    assert placement.device == row.device
    assert placement.adapter.startswith(row.adapter)
    assert re.fullmatch(r"litertjs \d+\.\d+\.\d+", placement.runtime)
    assert not placement.fallbacks
    if row.device == "cpu":
        assert re.fullmatch(r"wasm \(SIMD, \d+ threads?\), Chromium \d+", placement.adapter)
        assert not placement.software
    else:
        assert re.fullmatch(r"WebGPU \(.+\), Chromium \d+", placement.adapter)
        assert placement.software == ("SwiftShader" in placement.adapter)
        assert placement.details["precision"] == "fp32"
        assert placement.details["fully accelerated"] == "yes"


@pytest.mark.slow
@pytest.mark.parametrize("name", ACCELERATORS)
def test_the_cell_passes(bench, name):
    cell = bench.proof("single_input").cells[f"tflite/batch1 litertjs-{name} {ROWS[name].device}"]
    assert cell.status == "passed", cell.message


@pytest.mark.slow
def test_a_page_loads_four_files_of_the_packages_and_they_are_listed_here(bench, options):
    with load(bench.proof(TWINS), "tflite/batch1", options) as loaded:
        served = {path for path in loaded._session.server.served if path.startswith("node_modules/")}
    assert served == {
        "node_modules/@litertjs/core/dist/index.js",
        "node_modules/@litertjs/core/wasm/litert_wasm_jspi_internal.js",
        "node_modules/@litertjs/core/wasm/litert_wasm_jspi_internal.wasm",
        "node_modules/@litertjs/wasm-utils/dist/index.js",
    }


@pytest.mark.slow
def test_inputs_and_outputs_of_one_shape_are_bound_by_name(bench, options):
    proof = bench.proof(TWINS)
    with load(proof, "tflite/batch1", options) as loaded, reference(proof, "tflite/batch1") as kernels:
        rows = batch_of(proof.signature, 1)
        expected = kernels.infer(rows)
        agree(loaded.infer(rows), expected)
        agree(loaded.infer({name: rows[name] for name in ("alpha", "zeta")}), expected)


@pytest.mark.slow
def test_a_weight_that_moved_is_seen(bench, options, tmp_path):
    proof = bench.proof(TWINS)
    copied = tmp_path / "release"
    shutil.copytree(proof.release, copied)
    artifact = proof.artifacts["tflite/batch1"]
    request = {"format": "tflite", "fault": "weight", "folder": str(copied / artifact.path), "by": 0.01}
    bench.call("tests.tamper:tamper", request)
    cell = bench.cell(copied, artifact, ROWS[options["accelerator"]])
    assert (cell.status, cell.reason) == ("failed", "tolerance exceeded")
    assert {diff.name for diff in cell.diffs if not diff.passed} == {"third"}


@pytest.mark.slow
def test_operators_that_stayed_on_the_cpu_are_named_and_counted(bench, webgpu):
    proof = bench.proof("dict_inputs")
    with load(proof, "tflite/batch1", webgpu) as loaded, reference(proof, "tflite/batch1") as kernels:
        rows = batch_of(proof.signature, 1)
        agree(loaded.infer(rows), kernels.infer(rows))
        placement = loaded.placement
    assert placement.device == "gpu"
    assert placement.fallbacks == {"GATHER": 1, UNNAMED: 3}
    assert placement.details["fully accelerated"] == "no"


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_a_dynamic_axis_is_a_limit_by_name_before_any_page_opens(tmp_path, accelerator):
    nowhere = {"accelerator": accelerator, "endpoint": "ws://127.0.0.1:9"}
    with pytest.raises(Limited, match=r"x is \[\?, 4\]") as limit:
        litertjs.load(tmp_path, one("float32", None, 4), "cpu", nowhere).__enter__()
    assert limit.value.limit == "litertjs-dynamic-batch"
    assert "batch1" in limit.value.next_step


@pytest.mark.slow
def test_litert_js_still_refuses_a_dynamic_batch_so_the_limit_still_stands(bench, options):
    proof = bench.proof(TWINS)
    fixed = proof.artifacts["tflite/batch1"].signature
    with (
        load(proof, "tflite/dynamic", options, signature=fixed) as loaded,
        pytest.raises(Broken, match=r"does not match expected ranked tensor type Float32\[-1, 4\]"),
    ):
        loaded.infer(batch_of(fixed, 1))


@pytest.mark.parametrize("dtype", ["int64", "bool", "string", "float64", "int8"])
def test_a_type_that_no_tensor_of_litert_js_holds_is_a_limit_by_name(tmp_path, dtype):
    nowhere = {"accelerator": "wasm", "endpoint": "ws://127.0.0.1:9"}
    with pytest.raises(Limited, match=f"x is {dtype}") as limit:
        litertjs.load(tmp_path, one(dtype, 1, 4), "cpu", nowhere).__enter__()
    assert limit.value.limit == "litertjs-type"


@pytest.mark.slow
def test_a_shape_that_is_computed_is_a_limit_of_the_gpu_and_not_of_wasm(bench, options):
    proof = bench.proof("recurrent")
    if options["accelerator"] == "wasm":
        with load(proof, "tflite/batch1", options) as loaded, reference(proof, "tflite/batch1") as kernels:
            rows = batch_of(proof.signature, 1)
            agree(loaded.infer(rows), kernels.infer(rows))
        return
    with pytest.raises(Limited) as limit, load(proof, "tflite/batch1", options):
        pass
    assert limit.value.limit == "litert-gpu-dynamic-tensor"


@pytest.mark.slow
def test_an_error_that_webgpu_reports_beside_the_call_fails_the_call(bench, webgpu):
    # The accelerator's grouped convolution binds an empty buffer, and computes on with what lies in the others.
    with (
        pytest.raises(Broken, match=r"WebGPU reports.*Binding size"),
        load(bench.proof("grouped_convolution"), "tflite/batch1", webgpu),
    ):
        pass


@contextmanager
def device_in_reach(monkeypatch):
    """Pages keep the devices that they ask for where a test can destroy one."""
    original = litertjs.open_session

    @contextmanager
    def watched(*positional):
        with original(*positional) as session:
            session.page.evaluate(
                "{const ask = GPUAdapter.prototype.requestDevice;"
                "GPUAdapter.prototype.requestDevice = async function (...how) {"
                "return globalThis.asked = await ask.apply(this, how); }; 0}"
            )
            yield session

    monkeypatch.setattr(litertjs, "open_session", watched)
    yield


@pytest.mark.slow
def test_a_device_that_is_lost_is_an_error_by_its_name_in_every_later_call(bench, webgpu, monkeypatch):
    proof = bench.proof(TWINS)
    rows = batch_of(proof.signature, 1)
    with device_in_reach(monkeypatch), load(proof, "tflite/batch1", webgpu) as loaded:
        loaded.infer(rows)
        loaded._session.page.evaluate("asked.destroy()")
        for _ in range(2):
            with pytest.raises(Broken, match="WebGPU device was lost"):
                loaded.infer(rows)


@pytest.mark.slow
def test_a_browser_without_an_adapter_makes_the_gpu_unavailable_and_leaves_the_cpu(bench, tmp_path):
    blind = tmp_path / "chromium"
    blind.write_text(f'#!/bin/sh\nexec "{find_chromium()}" "$@" --disable-gpu --disable-software-rasterizer\n')
    blind.chmod(0o755)
    proof = bench.proof(TWINS)
    with BrowserHost(blind) as started:
        endpoint = started.endpoint()
        with (
            pytest.raises(Unavailable, match="no WebGPU adapter"),
            load(proof, "tflite/batch1", {"accelerator": "webgpu", "endpoint": endpoint}),
        ):
            pass
        with load(proof, "tflite/batch1", {"accelerator": "wasm", "endpoint": endpoint}) as loaded:
            assert loaded.infer(batch_of(proof.signature, 1))


@pytest.mark.slow
def test_a_file_that_is_none_is_an_error_with_litert_s_own_words(tmp_path, options):
    (tmp_path / "model.tflite").write_bytes(b"no flatbuffer" * 100)
    with (
        pytest.raises(Broken, match="Failed to load model"),
        litertjs.load(tmp_path, one("float32", 1, 4), "cpu", options),
    ):
        pass
