"""TF.js on its GPU backends in a real Chromium, on a card or on SwiftShader: numbers, proof of place, breakage."""

import sys
import threading
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from processes import below
from tfjs_graphs import Graph, dense, signature, spec

from exporters.errors import Broken, Unavailable
from exporters.target_limits import known_limit
from validators.hardware.chromium import find_chromium
from validators.hardware.graphics_cards import device_nodes
from validators.runtimes import tfjs
from validators.web.browser import BrowserHost
from validators.web.devtools import BrowserGone
from validators.web.gpu_adapters import gpu_flags
from validators.web.page_session import PACKAGES, open_session

pytestmark = pytest.mark.slow
NAMES = {"webgl": "WebGL", "webgpu": "WebGPU"}


@pytest.fixture(scope="module")
def host():
    if find_chromium() is None or not PACKAGES.is_dir():
        pytest.fail("these tests need Chromium and the browser packages: run `make setup`")
    with BrowserHost() as started:
        yield started


@pytest.fixture(params=["webgl", "webgpu"])
def backend(request):
    return request.param


@pytest.fixture
def opened(host, backend):
    return lambda folder, names: tfjs.load(folder, names, "gpu", {"backend": backend, "endpoint": host.endpoint()})


def unary(folder, *ops, dtype="float32", shape=(None,), out=None):
    """x -> ops, one after the other, each `NAME` or (NAME, attributes)."""
    graph = Graph()
    last = graph.placeholder("x", dtype, *shape)
    for index, op in enumerate(ops):
        name, attributes = (op, {}) if isinstance(op, str) else op
        last = graph.node(f"node{index}", name, last, **attributes)
    graph.output("y", f"{last}:0")
    names = signature([spec("x", dtype, *shape, native="x:0")], [spec("y", out or dtype, None, native=f"{last}:0")])
    return graph.write(folder), names


def test_the_gpu_agrees_with_numpy_at_several_batch_sizes_and_says_where_it_ran(tmp_path, opened, backend):
    folder, names, expected = dense(tmp_path / "model")
    rng = np.random.default_rng(2)
    with opened(folder, names) as runtime:
        for batch in (1, 2, 5):
            x = rng.normal(size=(batch, 3)).astype(np.float32)
            np.testing.assert_allclose(runtime.infer({"x": x})["y"], expected(x), rtol=1e-6, atol=1e-6)
        placement = runtime.placement
    assert placement.device == "gpu"
    assert placement.adapter.startswith(f"{NAMES[backend]} (")
    assert placement.details["adapter description"] in placement.adapter
    if not device_nodes():
        assert "SwiftShader" in placement.adapter
        assert placement.software
    assert placement.details[f"{NAMES[backend].upper()}_CPU_FORWARD"] == "false"
    assert placement.details.get("texture precision") == ("float32" if backend == "webgl" else None)


def test_not_even_a_tensor_of_one_element_is_computed_on_the_cpu(tmp_path, opened):
    folder, names = unary(tmp_path / "model", "Neg", "Square")
    with opened(folder, names) as runtime:
        assert runtime.infer({"x": np.float32([3])})["y"].tolist() == [9]
        assert runtime.placement.device == "gpu"
        assert int(runtime.placement.details["gpu programs"]) >= 2
        assert not runtime.placement.fallbacks


def test_integers_that_the_model_was_fed_are_computed_on_the_gpu(tmp_path, opened):
    folder, names = unary(tmp_path / "model", "Neg", dtype="int32")
    with opened(folder, names) as runtime:
        assert runtime.infer({"x": np.int32([3, -7])})["y"].tolist() == [-3, 7]
        assert int(runtime.placement.details["gpu programs"]) >= 1
        assert not runtime.placement.fallbacks


def test_the_largest_elements_are_found_on_the_gpu(tmp_path, opened):
    graph = Graph()
    graph.placeholder("x", "float32", None, 9)
    graph.const("three", np.int32(3))
    graph.node("Identity", "TopKV2", "x", "three", sorted={"b": True})
    graph.output("y", "Identity:0")
    inputs = [spec("x", "float32", None, 9, native="x:0")]
    names = signature(inputs, [spec("y", "float32", None, 3, native="Identity:0")])
    x = np.random.default_rng(3).permutation(18).reshape(2, 9).astype(np.float32)
    with opened(graph.write(tmp_path / "model"), names) as runtime:
        assert runtime.infer({"x": x})["y"].tolist() == np.sort(x)[:, :-4:-1].tolist()
        assert not runtime.placement.fallbacks


def test_operators_that_the_cpu_ran_are_counted_by_name(tmp_path, opened):
    graph = Graph()
    graph.placeholder("flag", "bool", None)
    graph.node("other", "LogicalNot", "flag")
    graph.node("Identity", "Where", "other")
    graph.output("places", "Identity:0")
    names = signature(
        [spec("flag", "bool", None, native="flag:0")], [spec("places", "int64", None, 1, native="Identity:0")]
    )
    with opened(graph.write(tmp_path / "model"), names) as runtime:
        assert runtime.infer({"flag": np.array([True, False])})["places"].tolist() == [[1]]
        assert runtime.placement.device == "gpu"
        assert runtime.placement.fallbacks == {"Where": 1}


def test_a_model_that_the_cpu_computed_alone_is_not_on_the_gpu(tmp_path, opened):
    folder, names = unary(tmp_path / "model", "Where", dtype="bool", out="int64")
    with opened(folder, names) as runtime:
        assert runtime.infer({"x": np.array([False, True])})["y"].tolist() == [[1]]
        assert runtime.placement.device == "cpu"
        assert runtime.placement.fallbacks == {"Where": 1}


def test_a_kernel_that_computes_on_the_cpu_is_counted(tmp_path, host):
    folder, names = unary(tmp_path / "model", "Neg", "Unique")
    with tfjs.load(folder, names, "gpu", {"backend": "webgl", "endpoint": host.endpoint()}) as runtime:
        assert runtime.infer({"x": np.float32([1, 2, 1])})["y"].tolist() == [-1, -2]
        assert runtime.placement.fallbacks == {"Unique": 1}
        assert runtime.placement.device == "gpu"


def reshape_by_its_own_shape(folder):
    """x[n, 2, 3] -> -x[n, 6], where n comes from the shape and 6 from a constant."""
    graph = Graph()
    graph.placeholder("x", "float32", None, 2, 3)
    graph.node("shape", "Shape", "x")
    for name, value in {"begin": 0, "end": 1, "step": 1}.items():
        graph.const(name, np.int32([value]))
    graph.node("rows", "StridedSlice", "shape", "begin", "end", "step", shrink_axis_mask={"i": "1"})
    graph.const("six", np.int32(6))
    graph.node("target", "Pack", "rows", "six", axis={"i": "0"}, N={"i": "2"})
    graph.node("flat", "Reshape", "x", "target")
    graph.node("Identity", "Neg", "flat")
    graph.output("y", "Identity:0")
    inputs = [spec("x", "float32", None, 2, 3, native="x:0")]
    return graph.write(folder), signature(inputs, [spec("y", "float32", None, 6, native="Identity:0")])


def test_arithmetic_on_shapes_stays_on_the_cpu_and_is_told_apart(tmp_path, opened):
    folder, names = reshape_by_its_own_shape(tmp_path / "model")
    x = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    with opened(folder, names) as runtime:
        assert runtime.infer({"x": x})["y"].tolist() == (-x.reshape(2, 6)).tolist()
        placement = runtime.placement
    assert placement.details["shape arithmetic on the CPU"] == "1 Pack, 1 StridedSlice"
    assert int(placement.details["gpu programs"]) >= 1
    assert not placement.fallbacks


def test_a_shape_that_the_gpu_computed_is_read_back_right(tmp_path, opened):
    graph = Graph()
    graph.placeholder("x", "float32", None)
    graph.placeholder("target", "int32", 2)
    graph.const("axis", np.int32([0]))
    graph.node("turned", "ReverseV2", "target", "axis")
    graph.node("Identity", "Reshape", "x", "turned")
    graph.output("y", "Identity:0")
    inputs = [spec("x", "float32", None, native="x:0"), spec("target", "int32", 2, native="target:0")]
    names = signature(inputs, [spec("y", "float32", None, None, native="Identity:0")])
    x = np.arange(6, dtype=np.float32)
    with opened(graph.write(tmp_path / "model"), names) as runtime:
        found = runtime.infer({"x": x, "target": np.int32([3, 2])})["y"]
    assert found.tolist() == x.reshape(2, 3).tolist()


def test_half_precision_textures_are_told(tmp_path, host):
    folder, names, _ = dense(tmp_path / "model")
    with tfjs.load(folder, names, "gpu", {"backend": "webgl", "endpoint": host.endpoint()}) as runtime:
        runtime._session.page.evaluate("tf.env().set('WEBGL_RENDER_FLOAT32_ENABLED', false)")
        x = np.float32([[1.001, 2.002, 3.003]])
        half = runtime.infer({"x": x})["y"]
        assert runtime.placement.details["texture precision"] == "half"
    with tfjs.load(folder, names, "gpu", {"backend": "webgl", "endpoint": host.endpoint()}) as runtime:
        assert runtime.infer({"x": x})["y"].tolist() != half.tolist()


def test_an_op_that_the_backend_lacks_is_a_limit_with_its_name(tmp_path, host):
    folder, names = unary(tmp_path / "model", "Neg", "Unique")
    with (
        tfjs.load(folder, names, "gpu", {"backend": "webgpu", "endpoint": host.endpoint()}) as runtime,
        pytest.raises(Broken, match="not registered for backend 'webgpu'") as caught,
    ):
        runtime.infer({"x": np.float32([5])})
    limit = known_limit("tfjs", caught.value.message, "tfjs-webgpu")
    assert limit.limit == "tfjs-no-kernel"
    assert "Unique" in limit.message


def test_an_operator_that_one_backend_lacks_runs_on_another(tmp_path, opened):
    graph = Graph()
    graph.placeholder("x", "float32", None, 2)
    graph.node("Identity", "Einsum", "x", "x", equation={"s": b64encode(b"ij,jk->ik").decode()})
    graph.output("y", "Identity:0")
    names = signature([spec("x", "float32", 2, 2, native="x:0")], [spec("y", "float32", 2, 2, native="Identity:0")])
    x = np.float32([[1, 2], [3, 4]])
    with opened(graph.write(tmp_path / "model"), names) as runtime:
        assert runtime.infer({"x": x})["y"].tolist() == (x @ x).tolist()


# What breaks.

LOSE = {
    "webgl": ("tf.backend().gpgpu.gl.getExtension('WEBGL_lose_context').loseContext()", "the WebGL context was lost"),
    "webgpu": ("tf.backend().device.destroy()", r"the WebGPU device was lost \(destroyed\)"),
}


def test_a_lost_device_is_named_and_the_next_cell_gets_a_fresh_one(tmp_path, opened, backend):
    folder, names, expected = dense(tmp_path / "model")
    x = np.ones((2, 3), np.float32)
    script, told = LOSE[backend]
    with opened(folder, names) as sibling:
        with opened(folder, names) as runtime:
            runtime.infer({"x": x})
            runtime._session.page.evaluate(script)
            with pytest.raises(BrowserGone, match=told):
                runtime.infer({"x": x})
        np.testing.assert_allclose(sibling.infer({"x": x})["y"], expected(x), rtol=1e-6)
    with opened(folder, names) as runtime:
        np.testing.assert_allclose(runtime.infer({"x": x})["y"], expected(x), rtol=1e-6)


def test_a_device_lost_while_a_call_waits_for_it_is_reported_not_waited_for(tmp_path, opened, backend):
    folder, names, _ = dense(tmp_path / "model")
    with opened(folder, names) as runtime:
        page = runtime._session.page
        page.evaluate("void (tf.Tensor.prototype.data = () => new Promise(() => {}))")
        page.evaluate(f"void setTimeout(() => {{ {LOSE[backend][0]} }}, 100)")
        with pytest.raises(BrowserGone, match=LOSE[backend][1]):
            runtime.infer({"x": np.ones((1, 3), np.float32)})


def test_a_call_that_fails_just_before_its_loss_is_told_is_named_after_the_loss(tmp_path, host):
    script = """import(new URL('webgpu.mjs', location)).then(({ unlessLost, DeviceLost }) => unlessLost(
        new Promise((_, reject) => { setTimeout(reject, 50, new DeviceLost('the device is gone')); }),
        async () => { throw new Error('mapAsync failed'); }))"""
    with (
        open_session(host.endpoint(), "tfjs", dense(tmp_path / "model")[0]) as session,
        pytest.raises(BrowserGone, match="the device is gone"),
    ):
        session.page.evaluate(script)


def test_a_gpu_process_that_dies_takes_its_cells_and_the_same_browser_serves_the_next(tmp_path, opened, host):
    folder, names, expected = dense(tmp_path / "model")
    endpoint = host.endpoint()
    for _ in range(4):  # more often than Chromium's own patience with crashes
        with opened(folder, names) as runtime:
            x = np.ones((2, 3), np.float32)
            np.testing.assert_allclose(runtime.infer({"x": x})["y"], expected(x), rtol=1e-6)
            (process,) = below(host.pid, "--type=gpu-process")
            process.kill()
            with pytest.raises(BrowserGone, match="was lost"):
                runtime.infer({"x": x})
    with opened(folder, names) as runtime:
        np.testing.assert_allclose(runtime.infer({"x": x})["y"], expected(x), rtol=1e-6)
    assert host.endpoint() == endpoint


def test_what_the_gpu_reports_beside_the_calls_is_an_error_and_no_silent_zero(tmp_path, host):
    folder, names, _ = dense(tmp_path / "model")
    with tfjs.load(folder, names, "gpu", {"backend": "webgpu", "endpoint": host.endpoint()}) as runtime:
        runtime._session.page.evaluate("""void (() => {
            const { queue } = tf.backend();
            queue.submit = () => GPUQueue.prototype.submit.call(queue, [new Proxy({}, {})].slice(1)) ||
                tf.backend().device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
        })()""")
        with pytest.raises(Broken, match=r"WebGPU reports: .*usage"):
            runtime.infer({"x": np.ones((2, 3), np.float32)})


def without(tmp_path, *flags, instead=()):
    """A Chromium that is not given some of its flags, but others."""
    script = tmp_path / "chromium"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"kept = [a for a in sys.argv[1:] if not a.startswith({flags!r})]\n"
        f"os.execv({str(find_chromium())!r}, ['chromium', *{list(instead)!r}, *kept])\n"
    )
    script.chmod(0o755)
    return script


def test_a_browser_without_webgpu_makes_the_cell_unavailable(tmp_path):
    folder, names, _ = dense(tmp_path / "model")
    blind = without(tmp_path, "--enable-unsafe-webgpu", "--use-webgpu-adapter", "--use-vulkan", "--use-angle")
    with BrowserHost(blind) as host, pytest.raises(Unavailable, match="no WebGPU adapter: ") as caught:  # noqa: SIM117 - opening raises
        with tfjs.load(folder, names, "gpu", {"backend": "webgpu", "endpoint": host.endpoint()}):
            pass
    assert "SwiftShader" in caught.value.next_step


def test_a_card_without_a_driver_is_stood_in_for_by_swiftshader_and_told(tmp_path):
    folder, names, expected = dense(tmp_path / "model")
    driverless = without(tmp_path, *gpu_flags([]), instead=gpu_flags([Path("/dev/nvidia0")]))
    x = np.ones((2, 3), np.float32)
    with (
        BrowserHost(driverless) as host,
        tfjs.load(folder, names, "gpu", {"backend": "webgl", "endpoint": host.endpoint()}) as runtime,
    ):
        np.testing.assert_allclose(runtime.infer({"x": x})["y"], expected(x), rtol=1e-6)
        assert runtime.placement.software or device_nodes()


def test_a_page_that_never_answers_ends_with_its_process_and_the_gpu_goes_on(tmp_path, opened, host):
    folder, names, expected = dense(tmp_path / "model")
    x = np.ones((2, 3), np.float32)
    with opened(folder, names) as runtime:
        page = runtime._session.page
        threading.Timer(0.5, page._socket.socket.shutdown, args=(2,)).start()  # as when the cell's process is killed
        with pytest.raises(BrowserGone):
            page.evaluate("while (true) {}")
        with opened(folder, names) as other:
            np.testing.assert_allclose(other.infer({"x": x})["y"], expected(x), rtol=1e-6)


LEFT_BEHIND = """
(async () => {
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const code = `
    var<workgroup> left: array<u32, 256>;
    @group(0) @binding(0) var<storage, read_write> found: array<atomic<u32>, 256>;
    @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
      for (var k = i; k < 256u; k += 64u) { atomicMax(&found[k], left[k]); }
      workgroupBarrier();
      for (var k = i; k < 256u; k += 64u) { left[k] = 7u; }
    }`;
  const compute = { module: device.createShaderModule({ code }), entryPoint: 'main' };
  const pipeline = device.createComputePipeline({ layout: 'auto', compute });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const found = device.createBuffer({ size: 1024, usage: STORAGE | COPY_SRC });
  const read = device.createBuffer({ size: 1024, usage: MAP_READ | COPY_DST });
  const entries = [{ binding: 0, resource: { buffer: found } }];
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(64);
  pass.end();
  encoder.copyBufferToBuffer(found, 0, read, 0, 1024);
  device.queue.submit([encoder.finish()]);
  await read.mapAsync(GPUMapMode.READ);
  return Array.from(new Uint32Array(read.getMappedRange()));
})()
"""


def test_a_workgroup_finds_zeros_in_its_memory_whatever_another_one_left_there(tmp_path, host):
    with open_session(host.endpoint(), "tfjs", dense(tmp_path / "model")[0]) as session:
        assert session.page.evaluate(LEFT_BEHIND) == [0] * 256
