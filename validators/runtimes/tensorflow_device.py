"""Chooses the device that TensorFlow runs on before anything runs, and reads back where operators ran.

In: the device that was asked for. Out: a `Placement`. Used by the runtimes of the SavedModel and of the Keras original.

For a GPU the proof is the graph that TensorFlow ran: after placement and optimisation it is split into one partition
for each device, and the eager context hands those out. Soft placement stays on, so that an operator without a GPU
kernel runs on the CPU as it would for a user, and is counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from exporters.errors import Broken
from validators.contract import Device, Placement
from validators.hardware.graphics_cards import allow_tf32, cards

# Operators that carry values, name them or steer control flow, and compute nothing.
_NO_WORK = re.compile(
    r"_Arg|_Retval|_DeviceArg|_DeviceRetval|_Send|_Recv|_HostSend|_HostRecv|NoOp|Const|_EagerConst|Placeholder|Identity|"
    r"IdentityN|StopGradient|ReadVariableOp|VarHandleOp|Switch|_SwitchN|Merge|Enter|Exit|NextIteration|LoopCond|"
    r"ControlTrigger"
)
_DEVICE = re.compile(r"device:(\w+):")  # in `/job:localhost/replica:0/task:0/device:GPU:0`


class Watch:
    """Records where TensorFlow ran the calls that are reported to `note`.

    Args:
        asked: the device.
    """

    def __init__(self, asked: Device) -> None:
        self._asked = asked
        self._outputs: set[str] = set()
        self._partitions = 0
        self._operators: Counter[tuple[str, str]] = Counter()

    def note(self, outputs: Iterable[Any]) -> None:
        """Records the devices of a call's outputs, and of the graphs that TensorFlow made for it."""
        self._outputs |= {match[1] for tensor in outputs if (match := _DEVICE.search(tensor.device or ""))}
        if self._asked == "gpu":
            from tensorflow.python.eager import context  # tf.summary.trace_on uses it too; there is no public reader

            for function in context.export_run_metadata().function_graphs:
                self._partitions += len(function.partition_graphs)
                for partition in function.partition_graphs:
                    self._operators |= computing(partition.node)

    def placement(self) -> Placement:
        """Returns the place where the calls ran: a GPU only if TensorFlow put a computing operator there.

        Raises:
            Broken: TensorFlow has not reported it.
        """
        import tensorflow as tf

        wanted = self._asked == "gpu"
        if not self._outputs:
            raise Broken("TensorFlow does not say on which device the outputs were computed; it ran no call")
        if wanted and not self._partitions:
            raise Broken("TensorFlow gave out no graph of the calls that it ran, so nothing proves where they ran")
        ran_on = ({device for device, _ in self._operators} or {"CPU"}) if wanted else self._outputs
        device: Device = "gpu" if "GPU" in ran_on else "cpu"
        return Placement(
            device=device,
            runtime=f"tensorflow {tf.__version__}",
            adapter=_card() if device == "gpu" else ", ".join(sorted(ran_on)),
            fallbacks={op: count for (on, op), count in sorted(self._operators.items()) if on == "CPU"}
            if wanted
            else {},
            details=_settings() if wanted else {},
        )


@contextmanager
def watching(asked: Device, options: Mapping[str, str]) -> Iterator[Watch]:
    """Claims the device for this process and watches what runs.

    Args:
        asked: `cpu` hides every card; `gpu` takes the first that CUDA_VISIBLE_DEVICES leaves.
        options: `tf32`: `on` to let products round to TF32.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    if asked == "cpu":
        tf.config.set_visible_devices([], "GPU")
        yield Watch(asked)
        return
    tf32 = options.get("tf32") == "on"
    allow_tf32(allowed=tf32)
    for card in tf.config.list_physical_devices("GPU")[:1]:
        tf.config.set_visible_devices([card], "GPU")
        tf.config.experimental.set_memory_growth(card, True)  # else it takes the whole card
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision": False})
    # Without collection TensorFlow keeps no partition graphs, and there is no proof of where operators ran.
    context.enable_graph_collection()
    try:
        yield Watch(asked)
    finally:
        context.disable_graph_collection()


def computing(nodes: Iterable[Any]) -> Counter[tuple[str, str]]:
    """Counts the computing nodes of each (device type, operator).

    Args:
        nodes: `NodeDef`s of a partition; each carries the device that it was put on.
    """
    placed = ((_DEVICE.search(node.device), _known(node.op)) for node in nodes if not _NO_WORK.fullmatch(node.op))
    return Counter((match[1] if match else "an unnamed device", op) for match, op in placed)


def _known(op: str) -> str:
    """Returns the operator's public name: on the CPU oneDNN replaces many operators by `_Mkl...` ones."""
    return re.sub("^_Mkl(Native)?", "", op)


def _card() -> str:
    """Names the card, such as `CUDA (NVIDIA H200, compute 9.0)`."""
    import tensorflow as tf

    found = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
    major, minor = found.get("compute_capability", ("?", "?"))
    return f"CUDA ({found.get('device_name', 'unknown card')}, compute {major}.{minor})"


def _settings() -> dict[str, str]:
    """Returns the settings that matter for the numbers, as TensorFlow reports them."""
    import tensorflow as tf

    build, optimizer = tf.sysconfig.get_build_info(), tf.config.optimizer.get_experimental_options()
    return {
        "TF32": "on" if tf.config.experimental.tensor_float_32_execution_enabled() else "off",
        "float16": "on" if optimizer.get("auto_mixed_precision") else "off, but where the model asks for it",
        "graph optimizers": "off" if optimizer.get("disable_meta_optimizer") else "on",
        "built for": f"CUDA {build.get('cuda_version', 'none')}, cuDNN {build.get('cudnn_version', 'none')}",
        "driver": cards()[0].driver if cards() else "none",
    }
