"""ONNX models in ONNX Runtime Web in a real Chromium, beside ONNX Runtime on the CPU; the GPU is whatever there is."""

import re
from pathlib import Path

import numpy as np
import pytest

from exporters.contract import Signature, TensorSpec
from exporters.errors import Broken, Unavailable
from validators.hardware.chromium import find_chromium
from validators.runtimes import ort_web
from validators.web.browser import BrowserHost
from validators.web.page_session import PACKAGES

pytestmark = pytest.mark.slow

WIDE = 2**53 + 1
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
TYPES = [*INTEGERS, "float16", "float32", "float64", "bool", "string"]
BUNDLES = {
    "wasm": {"ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"},
    "webgpu": {"ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"},
}


@pytest.fixture(scope="module")
def host():
    if find_chromium() is None or not PACKAGES.is_dir():
        pytest.fail("these tests need Chromium and the browser packages: run `make setup`")
    with BrowserHost() as started:
        yield started


@pytest.fixture(params=["wasm", "webgpu"])
def options(request, host):
    return {"provider": request.param, "endpoint": host.endpoint()}


@pytest.fixture
def webgpu(host):
    return {"provider": "webgpu", "endpoint": host.endpoint()}


def load(folder, names, options):
    return ort_web.load(folder, names, "cpu" if options["provider"] == "wasm" else "gpu", options)


class Model:
    """An ONNX file under construction; tensors are `(name, dtype, *shape)`, a text as a dimension is a free one."""

    def __init__(self, inputs, outputs):
        self.inputs, self.outputs, self.nodes, self.weights = inputs, outputs, [], {}

    def node(self, operator, inputs, outputs, **attributes):
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs.split(), outputs.split(), name=outputs, **attributes))

    def write(self, folder: Path, **how) -> tuple[Path, Signature]:
        import onnx
        from onnx import helper, numpy_helper

        graph = helper.make_graph(
            self.nodes,
            "g",
            *([helper.make_tensor_value_info(n, onnx_type(t), s) for n, t, *s in side] for side in self._sides()),
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        onnx.checker.check_model(model)
        folder.mkdir()
        onnx.save_model(model, str(folder / "model.onnx"), **how)
        return folder, self.signature()

    def signature(self):
        inputs, outputs = (tuple(spec(*tensor) for tensor in side) for side in self._sides())
        return Signature(inputs=inputs, outputs=outputs)

    def _sides(self):
        return self.inputs, self.outputs


def onnx_type(dtype):
    from onnx import TensorProto, helper

    return TensorProto.STRING if dtype == "string" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def spec(name, dtype, *shape):
    free = tuple(None if isinstance(size, str) else size for size in shape)
    return TensorSpec(name=name, dtype=dtype, shape=free, native=name)


def native_onnxruntime(folder, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def images(batch):
    return {"image": np.random.default_rng(batch).normal(size=(batch, 2, 8, 8)).astype(np.float32)}


def convolutional(folder, *, swapped=False):
    """Convolution in groups, pooling, a flattening that asks for the batch, a dense layer."""
    rng = np.random.default_rng(3)
    model = Model([("image", "float32", "b", 2, 8, 8)], [("probabilities", "float32", "b", 5)])
    model.weights = {
        "kernel": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "dense": rng.normal(size=(36, 5)).astype(np.float32)[:, :: -1 if swapped else 1],
        "first": np.int64([0]),
        "rest": np.int64([-1]),
    }
    model.node("Conv", "image kernel", "features", group=2)
    model.node("Relu", "features", "positive")
    model.node("MaxPool", "positive", "pooled", kernel_shape=[2, 2], strides=[2, 2])
    model.node("Shape", "image", "shape")
    model.node("Gather", "shape first", "batch")
    model.node("Concat", "batch rest", "flat_shape", axis=0)
    model.node("Reshape", "pooled flat_shape", "flat")
    model.node("MatMul", "flat dense", "logits")
    model.node("Softmax", "logits", "probabilities", axis=-1)
    return model.write(folder)


def embedding(folder, **how):
    """Rows of a table by int64 ids, beside int64 arithmetic and a comparison: three outputs of three types."""
    model = Model(
        [("ids", "int64", "b", 3)],
        [("mean", "float32", "b", 4), ("large", "int64", "b", 3), ("positive", "bool", "b", 4)],
    )
    model.weights = {
        "table": np.random.default_rng(4).normal(size=(10, 4)).astype(np.float32),
        "wide": np.int64(WIDE),
        "zero": np.float32(0),
    }
    model.node("Gather", "table ids", "rows")
    model.node("ReduceMean", "rows", "mean", axes=[1], keepdims=0)
    model.node("Greater", "mean zero", "positive")
    model.node("Add", "ids wide", "large")
    return model.write(folder, **how)


def test_both_providers_agree_with_onnxruntime_at_several_batches_and_say_where_they_ran(tmp_path, options):
    folder, names = convolutional(tmp_path / "model")
    with load(folder, names, options) as runtime:
        for batch in (1, 2, 7):
            found = runtime.infer(images(batch))
            expected = native_onnxruntime(folder, images(batch))
            assert list(found) == ["probabilities"]
            assert found["probabilities"].dtype == np.float32
            np.testing.assert_allclose(found["probabilities"], expected["probabilities"], rtol=1e-4, atol=1e-6)
        placement = runtime.placement
    assert placement.runtime == "onnxruntime-web 1.30.0"
    if options["provider"] == "wasm":
        assert placement.device == "cpu"
        assert re.fullmatch(r"wasm \(SIMD, \d+ threads?\), Chromium \d+", placement.adapter)
        assert (placement.software, placement.fallbacks) == (False, {})
    else:
        assert placement.device == "gpu"
        assert re.fullmatch(r"WebGPU \(.+\), Chromium \d+", placement.adapter)
        assert placement.software == ("SwiftShader" in placement.adapter)
        assert placement.details["shader-f16"] in ("yes", "no")
        assert re.match(r"[1-9]\d* started", placement.details["shaders"])


def test_a_page_loads_one_bundle_and_one_binary_of_the_package_and_both_are_listed_here(tmp_path, options):
    folder, names = embedding(tmp_path / "model")
    with load(folder, names, options) as runtime:
        runtime.infer({"ids": np.int64([[1, 2, 3]])})
        served = runtime._session.server.served
        assert runtime.placement.details["binary"] in BUNDLES[options["provider"]]
    package = PACKAGES / "onnxruntime-web" / "dist"
    assert {Path(path).name for path in served if path.startswith("node_modules/")} == BUNDLES[options["provider"]]
    assert all((package / name).is_file() for name in BUNDLES[options["provider"]])


def test_64_bit_ids_and_outputs_of_several_types_come_back_whole(tmp_path, options):
    folder, names = embedding(tmp_path / "model")
    ids = np.int64([[1, 2, 3], [9, 0, 9]])
    with load(folder, names, options) as runtime:
        found = runtime.infer({"ids": ids})
    expected = native_onnxruntime(folder, {"ids": ids})
    assert {name: array.dtype for name, array in found.items()} == {name: a.dtype for name, a in expected.items()}
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-5, atol=1e-6)
    assert found["positive"].tolist() == expected["positive"].tolist()
    assert found["large"].tolist() == (ids + WIDE).tolist()


def test_the_cpu_takes_and_gives_every_type(tmp_path, host):
    model = Model([(f"in_{t}", t, "b", 2) for t in TYPES], [(f"out_{t}", t, "b", 4) for t in TYPES])
    for dtype in TYPES:
        model.node("Concat", f"in_{dtype} in_{dtype}", f"out_{dtype}", axis=1)
    folder, names = model.write(tmp_path / "model")
    text = np.array([["Zürich", ""], ["b", "c"]], dtype=object)
    fed = {t: text if t == "string" else np.array([[0, 1], [1, 0]], t) for t in TYPES}
    with load(folder, names, {"provider": "wasm", "endpoint": host.endpoint()}) as runtime:
        found = runtime.infer({f"in_{t}": array for t, array in fed.items()})
    for dtype, array in fed.items():
        assert found[f"out_{dtype}"].dtype == array.dtype
        assert found[f"out_{dtype}"].tolist() == np.concatenate([array, array], axis=1).tolist()


def test_operators_that_the_cpu_ran_instead_of_the_gpu_are_counted_by_name(tmp_path, webgpu):
    folder, names = embedding(tmp_path / "model")
    with load(folder, names, webgpu) as runtime:
        runtime.infer({"ids": np.int64([[1, 2, 3]])})
        placement = runtime.placement
    assert placement.device == "gpu"
    assert placement.fallbacks == {"Add": 1}
    assert "int32" in placement.details["int64"]


def test_a_model_that_started_no_shader_ran_on_the_cpu_whatever_was_asked(tmp_path, webgpu):
    model = Model([("x", "float32", "b", 2)], [("odd", "int64", 2, "n")])
    model.weights = {"two": np.int64(2)}
    model.node("NonZero", "x", "places")
    model.node("Mod", "places two", "odd")
    folder, names = model.write(tmp_path / "model")
    with load(folder, names, webgpu) as runtime:
        assert runtime.infer({"x": np.float32([[0, 1]])})["odd"].tolist() == [[0], [1]]
        placement = runtime.placement
    assert placement.device == "cpu"
    assert placement.fallbacks == {"NonZero": 1, "Mod": 1}


def test_swapped_weights_are_seen(tmp_path, options):
    good, names = convolutional(tmp_path / "good")
    swapped, _ = convolutional(tmp_path / "swapped", swapped=True)
    with load(swapped, names, options) as runtime:
        found = runtime.infer(images(2))["probabilities"]
    expected = native_onnxruntime(good, images(2))["probabilities"]
    assert np.abs(found - expected).max() > 0.1
    np.testing.assert_allclose(found, expected[:, ::-1], rtol=1e-4, atol=1e-6)


def test_weights_that_lie_beside_the_model_are_found(tmp_path, options):
    beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    folder, names = embedding(tmp_path / "model", **beside)
    assert (folder / "weights.bin").stat().st_size >= 160
    ids = {"ids": np.int64([[1, 2, 3]])}
    with load(folder, names, options) as runtime:
        found = runtime.infer(ids)
    np.testing.assert_allclose(found["mean"], native_onnxruntime(folder, ids)["mean"], rtol=1e-5, atol=1e-6)


def test_outputs_have_canonical_names_and_those_that_the_signature_lacks_their_native_one(tmp_path, options):
    folder, _ = embedding(tmp_path / "model")
    renamed = TensorSpec(name="average", dtype="float32", shape=(None, 4), native="mean")
    ids = TensorSpec(name="tokens", dtype="int64", shape=(None, 3), native="ids")
    with load(folder, Signature(inputs=(ids,), outputs=(renamed,)), options) as runtime:
        found = runtime.infer({"tokens": np.int64([[1, 2, 3]])})
    assert set(found) == {"average", "large", "positive"}


def test_a_device_that_is_lost_is_an_error_by_its_name_in_every_later_call(tmp_path, webgpu):
    folder, names = embedding(tmp_path / "model")
    ids = {"ids": np.int64([[1, 2, 3]])}
    with load(folder, names, webgpu) as runtime:
        runtime.infer(ids)
        bundle = "../node_modules/onnxruntime-web/dist/ort.jspi.bundle.min.mjs"
        device = f"import(new URL({bundle!r}, location.href)).then((ort) => ort.env.webgpu.device)"
        page = runtime._session.page
        page.evaluate(f"{device}.then((device) => {{ device.destroy(); return device.lost.then(() => 0); }})")
        # What is called on it may wait for an answer in a loop, and then no page answers any more.
        spy = "ort.InferenceSession.prototype.run = () => { globalThis.called = true; return new Promise(() => {}); }"
        page.evaluate(f"import(new URL({bundle!r}, location.href)).then((ort) => {{ {spy} }})")
        for _ in range(2):
            with pytest.raises(Broken, match="WebGPU device was lost"):
                runtime.infer(ids)
        assert not page.evaluate("globalThis.called")


def test_why_a_session_failed_is_kept_though_it_takes_its_device_along(tmp_path, webgpu):
    model = Model([("x", "float32", "b", 2)], [("y", "float64", "b", 2)])
    model.node("Cast", "x", "y", to=11)
    folder, names = model.write(tmp_path / "model")
    with (
        pytest.raises(Broken, match=r"Provider type for Cast node with name 'y' is not set"),
        load(folder, names, webgpu),
    ):
        pass


def test_a_browser_without_an_adapter_makes_the_gpu_unavailable_and_leaves_the_cpu(tmp_path):
    blind = tmp_path / "chromium"
    blind.write_text(f'#!/bin/sh\nexec "{find_chromium()}" "$@" --disable-gpu --disable-software-rasterizer\n')
    blind.chmod(0o755)
    folder, names = embedding(tmp_path / "model")
    with BrowserHost(blind) as started:
        endpoint = started.endpoint()
        with (
            pytest.raises(Unavailable, match="no WebGPU adapter"),
            load(folder, names, {"provider": "webgpu", "endpoint": endpoint}),
        ):
            pass
        with load(folder, names, {"provider": "wasm", "endpoint": endpoint}) as runtime:
            assert len(runtime.infer({"ids": np.int64([[1, 2, 3]])})) == 3
