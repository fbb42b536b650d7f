"""Runs TF.js graph models in Chromium, on the backends `wasm`, `cpu`, `webgl` and `webgpu`.

In: a folder with `model.json` and its weight shards. Out: its outputs, as the TF.js that users load computes them.

TF.js knows float32, int32, bool, complex64 and string. Wider inputs are narrowed on the way in, and refused where a
value does not fit; an output that the signature declares with another width gets its declared dtype back. Both are
written into the placement.

Settings that let a GPU backend compute on the CPU are switched off (`page/tfjs_gpu.mjs`); operators that it runs there
anyway are counted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature, TensorSpec
from exporters.errors import Broken
from exporters.target_limits import limited
from validators.contract import TEXTURE_PRECISION, Device, Placement, Tensors
from validators.text import counted, operators
from validators.web.gpu_adapters import adapter_details, adapter_name, is_software
from validators.web.page_session import PageRuntime, Session, open_session

_INT32 = np.iinfo(np.int32)
_GPU_BACKENDS = {"webgl": "WebGL", "webgpu": "WebGPU"}


@contextmanager
def load(artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]) -> Iterator["TfjsRuntime"]:  # noqa: ARG001 - the backend decides the device, and the placement reports it
    """Loads a graph model into a new page.

    Args:
        artifact: folder with `model.json`.
        signature: canonical names, keys of `model.json`'s signature; where that lacks one, the native name is the
            TensorFlow name (`Identity_1:0`) or another key.
        device: not used: each backend has one device.
        options: `backend` (`wasm`, `cpu`, `webgl` or `webgpu`) and `endpoint` (the DevTools address from
            `BrowserHost.endpoint`).

    Raises:
        Unavailable: the browser gives its pages no such GPU.
        Broken: TF.js cannot load the model (its message is kept), or the browser is gone.
    """
    declared = _declared(artifact)
    with open_session(options["endpoint"], "tfjs", artifact) as session:
        facts = session.load({"backend": options["backend"]})
        yield TfjsRuntime(session=session, signature=signature, declared=declared, facts=facts)


class TfjsRuntime(PageRuntime):
    """Runs a loaded graph model; see `validators.contract.LoadedArtifact`.

    Args:
        session: the page that holds it.
        signature: canonical and native names.
        declared: `inputs` and `outputs` of `model.json`'s signature, key -> tensor name.
        facts: what TF.js reported after loading.
    """

    def __init__(
        self,
        *,
        session: Session,
        signature: Signature,
        declared: Mapping[str, Mapping[str, str]],
        facts: dict[str, Any],
    ) -> None:
        super().__init__(session=session, facts=facts)
        self._recasts: dict[str, str] = {}
        self._fallbacks: dict[str, int] = {}
        self._inputs = _bound(signature.inputs, declared["inputs"])
        self._outputs = _bound(signature.outputs, declared["outputs"])
        self._dtypes = {spec.name: spec.dtype for spec in signature.outputs}
        self._wanted = sorted(set(declared["outputs"].values()))

    @property
    def placement(self) -> Placement:
        """Returns the place where TF.js ran the last call; for operators on the CPU, the highest count of any call."""
        facts, session = self._facts, self._session
        gpu: Mapping[str, Any] = facts.get("gpu", {})
        return Placement(
            device="gpu" if gpu.get("programs") else "cpu",
            runtime=f"tfjs {facts['version']}",
            adapter=f"{_adapter(facts)}, {session.shown}",
            software=bool(gpu) and is_software(gpu["adapter"]),
            fallbacks=dict(self._fallbacks),
            threads=facts["threads"] if not gpu else None,
            details={
                "browser": session.browser,
                "call": str(facts["call"]),
                **({"binary": session.binaries} if session.binaries else {}),
                **(_gpu_details(gpu) if gpu else {}),
                **self._recasts,
            },
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one batch; see `validators.contract.LoadedArtifact.infer`.

        Raises:
            Limited: a value does not fit the only integer or float that TF.js has.
            Broken: TF.js raised; its message is kept.
        """
        feeds = {self._inputs[name]: self._narrow(name, array) for name, array in inputs.items()}
        found, self._facts = self._session.infer(feeds, self._wanted)
        for op, count in self._facts.get("gpu", {}).get("cpu", {}).items():
            self._fallbacks[op] = max(count, self._fallbacks.get(op, 0))
        known = {name: native for name, native in self._outputs.items() if native in found}
        outputs = {name: self._restore(name, found[native]) for name, native in known.items()}
        undeclared = {native: array for native, array in found.items() if native not in known.values()}
        return {**outputs, **undeclared}

    def _narrow(self, name: str, array: np.ndarray) -> np.ndarray:
        """Returns the input as a dtype of TF.js, value for value (float64 is rounded to float32)."""
        target = {"i": np.dtype(np.int32), "u": np.dtype(np.int32), "f": np.dtype(np.float32)}.get(array.dtype.kind)
        if target is None or target == array.dtype:
            return array
        if target == np.int32:
            limit, lost = "tfjs-int64", (array < _INT32.min) | (array > _INT32.max)
        else:
            limit, lost = "tfjs-float64", np.isfinite(array) & (np.abs(array) > np.finfo(np.float32).max)
        if lost.any():
            places = np.argwhere(lost)[:3]
            shown = ", ".join(f"{array[tuple(place)]} at {place.tolist()}" for place in places)
            raise limited(limit, f"input {name!r} holds {int(lost.sum())} values outside {target.name}, {shown}")
        self._recasts[f"input {name}"] = f"{array.dtype} narrowed to {target}"
        return array.astype(target)

    def _restore(self, name: str, array: np.ndarray) -> np.ndarray:
        """Returns the output with the dtype its signature declares, where TF.js only lacks that width."""
        declared = self._dtypes[name]
        if array.dtype.kind not in "if" or declared == array.dtype.name or declared in ("string", "bfloat16"):
            return array
        target = np.dtype(declared)
        if target.kind not in {"i": "iu", "f": "f"}[array.dtype.kind]:
            return array
        restored = array.astype(target)
        if array.dtype.kind == "i" and not np.array_equal(restored.astype(np.int64), array):
            return array  # not a value of the declared dtype: let the comparison see what came
        self._recasts[f"output {name}"] = f"{array.dtype.name} given back as {declared}"
        return restored


def _adapter(facts: Mapping[str, Any]) -> str:
    """Names the backend, and what it runs on."""
    backend = str(facts["backend"])
    if backend in _GPU_BACKENDS:
        return f"{_GPU_BACKENDS[backend]} ({adapter_name(facts['gpu']['adapter'])})"
    if backend == "wasm":
        return f"wasm ({'SIMD' if facts['simd'] else 'no SIMD'}, {counted(facts['threads'], 'thread')})"
    return backend


def _gpu_details(gpu: Mapping[str, Any]) -> dict[str, str]:
    """Returns the facts that decide where and how precisely a GPU backend computes; `programs` of the last call."""
    return {
        "gpu programs": str(gpu["programs"]),
        **({"shape arithmetic on the CPU": operators(gpu["shapes"])} if gpu["shapes"] else {}),
        **({TEXTURE_PRECISION: gpu["precision"]} if "precision" in gpu else {}),
        **adapter_details(gpu["adapter"]),
        **gpu["flags"],
    }


def _declared(artifact: Path) -> dict[str, dict[str, str]]:
    """Reads the signature of `model.json`: `inputs` and `outputs`, key -> tensor name."""
    path = artifact / "model.json"
    try:
        signature = json.loads(path.read_bytes())["signature"]
        return {
            side: {key: full_name(entry["name"]) for key, entry in signature[side].items()}
            for side in ("inputs", "outputs")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Broken(f"{path} is no TF.js graph model with a signature: {error!r}") from error


def full_name(name: str) -> str:
    """Returns TensorFlow's full tensor name: `NODE:INDEX`; a bare `NODE` means its first output."""
    return name if ":" in name else f"{name}:0"


def _bound(specs: Sequence[TensorSpec], declared: Mapping[str, str]) -> dict[str, str]:
    """Maps canonical to tensor names: first by `model.json`, as its users read it, and only then by our record."""
    return {spec.name: declared.get(spec.name) or _tensor_name(spec.native, declared) for spec in specs}


def _tensor_name(native: str, declared: Mapping[str, str]) -> str:
    """Returns the tensor a native name means: a tensor name as it stands, else a key of the artifact's signature."""
    full = full_name(native)
    return full if full in declared.values() else declared.get(native, full)
