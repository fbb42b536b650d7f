"""The page: its packages, pinned and without the address of any registry, and tensors on their way through it."""

import json
import re

import numpy as np
import pytest

from exporters.errors import Broken
from flows.setup import browser_packages
from validators.runtimes.registry import RUNTIMES
from validators.web import page_session
from validators.web.browser import BrowserHost
from validators.web.page_session import PACKAGES, PAGE, open_session, package_version, package_versions

ROOT = PAGE.parents[2]


def test_the_lock_file_pins_every_package_by_its_content_and_names_no_address():
    text = (PAGE / "package-lock.json").read_text()
    assert "://" not in text
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(re.match(r"sha512-", entry["integrity"]) for entry in packages.values())


def test_the_lock_file_holds_the_versions_that_the_page_asks_for():
    wanted = json.loads((PAGE / "package.json").read_text())["dependencies"]
    locked = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_no_package_runs_a_script_when_it_is_installed():
    (line,) = [line for line in (ROOT / "deployments/Dockerfile.cpu").read_text().splitlines() if "npm ci" in line]
    assert "--ignore-scripts" in line
    assert "--ignore-scripts" in browser_packages._NPM
    own = json.loads((PAGE / "package.json").read_text())["scripts"]
    assert not [name for name in own if "install" in name or name.startswith(("pre", "post"))]


def test_an_absent_package_has_no_version(monkeypatch, tmp_path):
    assert package_version("no-such-package") is None
    installed = tmp_path / "@tensorflow" / "tfjs-core" / "package.json"
    installed.parent.mkdir(parents=True)
    installed.write_text('{"version": "4.22.0"}')
    monkeypatch.setattr(page_session, "PACKAGES", tmp_path)
    assert package_versions() == {"@tensorflow/tfjs-core": "4.22.0"}


@pytest.mark.slow
def test_what_is_installed_is_what_the_page_needs_and_little_more():
    assert package_version("@tensorflow/tfjs-core") == "4.22.0"
    assert sum(file.stat().st_size for file in PACKAGES.rglob("*") if file.is_file()) < 60_000_000


def test_everything_that_a_page_names_is_kept():
    kept = {path.relative_to(PACKAGES).as_posix() for path in PACKAGES.rglob("*") if path.is_file()}
    for row in RUNTIMES:
        for package in row.npm:
            assert [path for path in kept if path.startswith(f"{package}/") and path.endswith(("js", "wasm"))], package
    assert "onnxruntime-web/dist/ort-wasm-simd-threaded.jspi.wasm" in kept
    assert not [path for path in kept if path.endswith((".map", ".ts", ".node.min.mjs"))]


ECHO = """
export async function load() { return {}; }
export async function infer(inputs) {
  const part = { name: 'part', dtype: 'float32', shape: [2], data: new Float32Array([1, 2, 3, 4]).subarray(1, 3) };
  const facts = Object.fromEntries(inputs.map(({ name, data }) => [name, String(data[1])]));
  return { outputs: [...inputs, part], facts };
}
"""


class Seen(dict):
    """The tensors of a server, and the names of all that ever lay there."""

    def __init__(self):
        self.names = set()

    def __setitem__(self, name, body):
        self.names.add(name)
        super().__setitem__(name, body)


DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")


@pytest.mark.slow
@pytest.mark.parametrize("small", [0, 32 * 1024], ids=["through the server", "in the message"])
def test_tensors_of_every_type_go_through_a_page_value_for_value(tmp_path, monkeypatch, small):
    monkeypatch.setattr(page_session, "_SMALL", small)
    for name in ("page.html", "page.mjs"):
        (tmp_path / name).write_bytes((PAGE / name).read_bytes())
    (tmp_path / "echo.mjs").write_text(ECHO)
    monkeypatch.setattr(page_session, "PAGE", tmp_path)
    arrays = {name: np.array([[0], [3]], name) for name in DTYPES}
    arrays |= {name: np.array([[0], [np.iinfo(name).max]], name) for name in ("int64", "uint64")}
    arrays |= {"bool": np.array([[False], [True]]), "text": np.array([["a"], ["grün"]], dtype=object)}
    arrays |= {"empty": np.zeros((0, 3), np.float32), "edges": np.float32([[-0.0], [np.nan], [np.inf]])}
    large = np.arange(8193, dtype=np.float32)
    with BrowserHost() as host, open_session(host.endpoint(), "echo", tmp_path) as opened:
        opened.server.tensors = served = Seen()
        found, seen = opened.infer(arrays | {"large": large}, [])
        with pytest.raises(Broken, match="input x: a page holds no complex64"):
            opened.infer({"x": np.complex64([1])}, [])
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes() if name != "text" else found[name].tolist() == array.tolist()
    assert found["part"].tolist() == [2, 3]
    assert np.array_equal(found["large"], large)
    assert len(served.names) == (
        2 if small else 2 * len(found) - 3
    )  # the empty ones go in the message, `part` only out
    assert (seen["int64"], seen["uint64"]) == ("9223372036854775807", "18446744073709551615")
    assert (seen["int8"], seen["float64"], seen["bool"], seen["text"]) == ("3", "3", "1", "grün")
