"""TF.js graph models in a real Chromium, on hand-written graphs: what comes back is compared with NumPy."""

import re
from base64 import b64encode

import numpy as np
import pytest
from tfjs_graphs import Graph, dense, signature, spec

from exporters.errors import Broken, Limited
from validators.hardware.chromium import find_chromium
from validators.runtimes import tfjs
from validators.web.browser import BrowserHost
from validators.web.page_session import PACKAGES, open_session


@pytest.fixture(scope="module")
def host():
    if find_chromium() is None or not PACKAGES.is_dir():
        pytest.fail("these tests need Chromium and the browser packages: run `make setup`")
    with BrowserHost() as started:
        yield started


@pytest.fixture(params=["wasm", "cpu"])
def options(request, host):
    return {"backend": request.param, "endpoint": host.endpoint()}


@pytest.fixture
def run(options):
    def run_once(folder, names, inputs):
        with tfjs.load(folder, names, "cpu", options) as runtime:
            return runtime.infer(inputs), runtime.placement

    return run_once


@pytest.mark.slow
def test_both_backends_agree_with_numpy_at_several_batch_sizes_and_say_where_they_ran(tmp_path, options):
    folder, names, expected = dense(tmp_path / "model")
    rng = np.random.default_rng(2)
    with tfjs.load(folder, names, "cpu", options) as runtime:
        for batch in (1, 2, 5):
            x = rng.normal(size=(batch, 3)).astype(np.float32)
            found = runtime.infer({"x": x})
            assert list(found) == ["y"]
            assert found["y"].dtype == np.float32
            np.testing.assert_allclose(found["y"], expected(x), rtol=1e-6, atol=1e-6)
        placement = runtime.placement
    assert placement.device == "cpu"
    assert placement.runtime == "tfjs 4.22.0"
    assert re.fullmatch(r"(wasm \(SIMD, \d+ threads?\)|cpu), Chromium \d+", placement.adapter)
    assert placement.adapter.startswith(options["backend"])
    assert placement.details["call"] == "execute"
    assert ("binary" in placement.details) == (options["backend"] == "wasm")


@pytest.mark.slow
def test_inputs_of_the_same_shape_are_bound_by_name_whatever_order_they_come_in(tmp_path, run):
    graph = Graph()
    graph.placeholder("zeta", "float32", None, 2)
    graph.placeholder("alpha", "float32", None, 2)
    graph.node("Identity", "Sub", "zeta", "alpha")
    graph.output("difference", "Identity:0")
    inputs = [spec("alpha", "float32", None, 2, native="alpha:0"), spec("zeta", "float32", None, 2, native="zeta")]
    names = signature(inputs, [spec("difference", "float32", None, 2, native="difference")])
    folder = graph.write(tmp_path / "model")
    zeta, alpha = np.float32([[5, 7]]), np.float32([[1, 2]])
    for fed in ({"zeta": zeta, "alpha": alpha}, {"alpha": alpha, "zeta": zeta}):
        assert run(folder, names, fed)[0]["difference"].tolist() == [[4, 5]]


@pytest.mark.slow
def test_all_outputs_come_back_under_their_names_and_unknown_ones_under_the_native_name(tmp_path, run):
    graph = Graph()
    graph.placeholder("x", "float32", None, 2)
    graph.node("parts", "Unpack", "x", axis={"i": "1"}, num={"i": "2"})
    graph.node("Identity", "Neg", "x")
    graph.node("stranger", "Square", "x")
    for key, tensor in {"b": "parts:1", "c": "Identity:0", "a": "parts:0", "other": "stranger:0"}.items():
        graph.output(key, tensor)
    specs = {
        "second": "parts:1",
        "first": "parts",
        "negative": "Identity:0",
        "again": "Identity:0",
        "gone": "nothing:0",
    }
    names = signature(
        [spec("x", "float32", None, 2, native="x:0")],
        [spec(name, "float32", None, native=native) for name, native in specs.items()],
    )
    found, _ = run(graph.write(tmp_path / "model"), names, {"x": np.float32([[1, 2], [3, 4]])})
    assert {name: array.tolist() for name, array in found.items()} == {
        "second": [2, 4],
        "first": [1, 3],
        "negative": [[-1, -2], [-3, -4]],
        "again": [[-1, -2], [-3, -4]],
        "stranger:0": [[1, 4], [9, 16]],
    }


@pytest.mark.slow
def test_int64_goes_through_as_int32_and_comes_back_as_declared_and_bool_and_text_pass(tmp_path, run):
    graph = Graph()
    for name, dtype in {"ids": "int64", "flag": "bool", "text": "string"}.items():
        graph.placeholder(name, dtype, None)
    graph.node("doubled", "AddV2", "ids", "ids")
    graph.node("negated", "LogicalNot", "flag")
    graph.node("same", "Identity", "text")
    for name in ("doubled", "negated", "same"):
        graph.output(name, f"{name}:0")
    kinds = {"ids": "int64", "flag": "bool", "text": "string", "doubled": "int64", "negated": "bool", "same": "string"}
    specs = [spec(name, dtype, None, native=f"{name}:0") for name, dtype in kinds.items()]
    feeds = {
        "ids": np.int64([2**30 - 1, -5]),
        "flag": np.array([True, False]),
        "text": np.array(["grün", ""], dtype=object),
    }
    found, placement = run(graph.write(tmp_path / "model"), signature(specs[:3], specs[3:]), feeds)
    assert found["doubled"].dtype == np.int64
    assert found["doubled"].tolist() == [2**31 - 2, -10]
    assert found["negated"].dtype == np.bool_
    assert found["negated"].tolist() == [False, True]
    assert found["same"].tolist() == ["grün", ""]
    assert placement.details["input ids"] == "int64 narrowed to int32"
    assert placement.details["output doubled"] == "int32 given back as int64"


@pytest.mark.slow
def test_a_graph_that_needs_it_is_run_with_execute_async(tmp_path, run):
    graph = Graph()
    graph.placeholder("flag", "bool", None)
    graph.node("Identity", "Where", "flag")
    graph.output("places", "Identity:0")
    specs = spec("flag", "bool", None, native="flag:0"), spec("places", "int64", None, 1, native="Identity:0")
    found, placement = run(
        graph.write(tmp_path / "model"), signature(specs[:1], specs[1:]), {"flag": np.array([False, True, True])}
    )
    assert found["places"].tolist() == [[1], [2]]
    assert placement.details["call"] == "executeAsync"


@pytest.mark.slow
def test_a_constant_output_survives_the_first_run_and_no_run_leaves_tensors_behind(tmp_path, options):
    graph = Graph()
    graph.placeholder("x", "float32", None)
    graph.const("fixed", np.float32([7, 8]))
    graph.node("Identity", "Neg", "x")
    graph.output("constant", "fixed:0")
    graph.output("negative", "Identity:0")
    outputs = [
        spec("constant", "float32", 2, native="fixed:0"),
        spec("negative", "float32", None, native="Identity:0"),
    ]
    names = signature([spec("x", "float32", None, native="x:0")], outputs)
    with tfjs.load(graph.write(tmp_path / "model"), names, "cpu", options) as runtime:
        held = runtime._session.page.evaluate("tf.memory().numTensors")
        for _ in range(3):
            assert runtime.infer({"x": np.float32([1])})["constant"].tolist() == [7, 8]
            assert runtime._session.page.evaluate("tf.memory().numTensors") == held
        assert runtime._session.server.tensors == {}


@pytest.mark.slow
def test_an_op_that_tfjs_lacks_is_named(tmp_path, run):
    graph = Graph()
    graph.placeholder("x", "float32", None)
    graph.node("Identity", "NoSuchOp", "x")
    graph.output("y", "Identity:0")
    names = signature([spec("x", "float32", None, native="x:0")], [spec("y", "float32", None, native="Identity:0")])
    with pytest.raises(Broken, match="NoSuchOp"):
        run(graph.write(tmp_path / "model"), names, {"x": np.float32([1])})


@pytest.mark.slow
def test_a_kernel_that_the_backend_lacks_is_named_with_the_backend(tmp_path, host, capfd):
    graph = Graph()
    graph.placeholder("x", "float32", None, 2)
    graph.node("Identity", "Einsum", "x", "x", equation={"s": b64encode(b"ij,jk->ik").decode()})
    graph.output("y", "Identity:0")
    names = signature([spec("x", "float32", 2, 2, native="x:0")], [spec("y", "float32", 2, 2, native="Identity:0")])
    folder, x = graph.write(tmp_path / "model"), np.float32([[1, 2], [3, 4]])
    with tfjs.load(folder, names, "cpu", {"backend": "cpu", "endpoint": host.endpoint()}) as runtime:
        assert runtime.infer({"x": x})["y"].tolist() == (x @ x).tolist()
    wasm = {"backend": "wasm", "endpoint": host.endpoint()}
    with pytest.raises(Broken, match=r"^Kernel 'Einsum' not registered for backend 'wasm'$"):  # noqa: SIM117 - the load must pass
        with tfjs.load(folder, names, "cpu", wasm) as runtime:
            runtime.infer({"x": x})
    assert "[page error] Error: Kernel 'Einsum'" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing shard", "short shard"])
def test_weights_that_are_not_all_there_are_an_error_of_the_artifact(tmp_path, host, damage):
    folder, names, _ = dense(tmp_path / "model")
    shard = folder / "group1-shard2of2.bin"
    shard.unlink() if damage == "missing shard" else shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(Broken, match=r"should have \d+ values but has"):  # noqa: SIM117 - opening raises
        with tfjs.load(folder, names, "cpu", {"backend": "cpu", "endpoint": host.endpoint()}):
            pass


@pytest.mark.slow
def test_a_backend_that_does_not_exist_is_refused_by_name(tmp_path, host):
    folder, names, _ = dense(tmp_path / "model")
    with pytest.raises(Broken, match="no_such_backend"):  # noqa: SIM117 - opening raises
        with tfjs.load(folder, names, "cpu", {"backend": "no_such_backend", "endpoint": host.endpoint()}):
            pass


@pytest.mark.slow
def test_wasm_may_use_threads_because_the_page_is_isolated(tmp_path, host):
    with open_session(host.endpoint(), "tfjs", dense(tmp_path / "model")[0]) as session:
        assert session.page.evaluate("crossOriginIsolated") is True


# Without a browser: what happens to dtypes and names at the edge.


class EchoSession:
    """Gives fixed outputs, and keeps what it was fed."""

    def __init__(self, **outputs):
        self.outputs, self.fed = outputs, {}

    def infer(self, inputs, outputs):
        self.fed = inputs
        return {f"{name}:0": array for name, array in self.outputs.items()}, {}


def edge(session, input_dtype="int64", **outputs):
    names = signature(
        [spec("x", input_dtype, None, native="x:0")],
        [spec(name, dtype, None, native=f"{name}:0") for name, dtype in outputs.items()],
    )
    declared = {"inputs": {"x": "x:0"}, "outputs": {name: f"{name}:0" for name in outputs}}
    return tfjs.TfjsRuntime(session=session, signature=names, declared=declared, facts={"seconds": 0.0})


@pytest.mark.parametrize(
    ("array", "limit", "told"),
    [
        (
            np.int64([0, 3_000_000_000, -(2**40)]),
            "tfjs-int64",
            r"2 values outside int32.*3000000000 at \[1\], -1099511627776 at \[2\]",
        ),
        (np.uint32([2**31]), "tfjs-int64", r"1 values outside int32.*2147483648 at \[0\]"),
        (np.float64([1e39, np.inf, np.nan]), "tfjs-float64", r"1 values outside float32.*1e\+39 at \[0\]"),
    ],
)
def test_a_value_that_does_not_fit_is_a_limit_of_tfjs_and_comes_with_its_place(array, limit, told):
    with pytest.raises(Limited, match=told) as caught:
        edge(EchoSession(y=np.float32([0])), y="float32").infer({"x": array})
    assert caught.value.limit == limit


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31)])
def test_the_ends_of_int32_still_fit(value):
    session = EchoSession(y=np.float32([0]))
    edge(session, y="float32").infer({"x": np.int64([value])})
    assert session.fed["x:0"].dtype == np.int32
    assert session.fed["x:0"].tolist() == [value]


@pytest.mark.parametrize(
    ("declared", "came", "becomes"),
    [
        ("int64", np.int32([1]), "int64"),
        ("uint8", np.int32([255]), "uint8"),
        ("uint8", np.int32([256]), "int32"),
        ("float64", np.float32([1]), "float64"),
        ("float16", np.float32([1]), "float16"),
        ("float32", np.int32([1]), "int32"),
        ("int64", np.float32([1]), "float32"),
        ("int32", np.array([True]), "bool"),
    ],
)
def test_only_a_width_that_tfjs_lacks_is_given_back_and_never_another_kind(declared, came, becomes):
    assert edge(EchoSession(y=came), y=declared).infer({"x": np.int64([1])})["y"].dtype == becomes


def test_a_native_name_is_a_tensor_first_and_a_key_of_the_signature_second():
    declared = {"a": "b:0", "b": "a:0", "key": "Identity_1:0"}
    assert tfjs._tensor_name("a", declared) == "a:0"
    assert tfjs._tensor_name("key", declared) == "Identity_1:0"
    assert tfjs._tensor_name("Identity_1:0", declared) == "Identity_1:0"
    assert tfjs._tensor_name("absent", declared) == "absent:0"


@pytest.mark.parametrize("content", [None, "", "{}", '{"signature": {"inputs": {}}}', '{"signature": []}'])
def test_a_folder_without_a_readable_signature_is_refused_before_a_page_is_opened(tmp_path, content):
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(Broken, match=r"no TF\.js graph model with a signature"):  # noqa: SIM117 - opening raises
        with tfjs.load(tmp_path, signature([], []), "cpu", {"backend": "cpu", "endpoint": "ws://127.0.0.1:9/"}):
            pass
