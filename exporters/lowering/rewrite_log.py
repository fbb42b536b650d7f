"""Records the rewrites that were applied, so that the report can name what was written differently for a target.

In: the names of rewrites, each from the code that just applied it. Out: findings that do not block, one for each
applied rewrite, with its upstream thread. A graph stores the rewrites of its trace; reading the graph within
`recorded_rewrites` records them again: an artifact's findings name the rewrites of its graph and of its exporter.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from exporters.contract import Finding

REWRITES: Mapping[str, tuple[str, str]] = {
    "xla_wrappers_inlined": ("functions that Keras compiles with XLA are traced in line", "keras#18180"),
    "signbit_in_arithmetic": ("the sign of zero is found by a comparison instead of by its bits", "jax#24280"),
    "additions_as_written": ("an addition that Keras took for a bias is an addition", "keras `ops.add`"),
    "einsum_as_matrix_product": ("sums over two operands (Einsum) are matrix products", "tfjs#7439"),
    "gelu_with_erf": ("the exact GELU and Erfc are written with Erf", "tfjs#8304"),
    "expm1_with_elu": ("exp(x) - 1 is written with Exp and Elu", "tensorflow-onnx support_status.md"),
    "softsign_in_arithmetic": ("softsign is a division", "tfjs#8304"),
    "one_hot_of_integers": ("one-hot vectors are comparisons of integers", "tfjs#3409"),
    "response_normalization_as_arithmetic": (
        "local response normalization is a convolution over channels and arithmetic",
        "LiteRT reference_ops.h",
    ),
    "bincount_as_comparison": ("counts of categories (DenseBincount) are comparisons and a sum", "LiteRT#6458"),
    "resizing_as_matrix_products": ("cubic and antialiased resizing is two matrix products", "tfjs#1668"),
    "sizes_as_tensors": ("images are resized to sizes that are known only when the model runs", "keras#23315"),
    "mixed_in_float32": ("layers of mixed precision compute in float32", "LiteRT#6458"),
    "free_axis_left_open": ("a free batch is left open in reshapes instead of computed", "tensorflow#38036"),
    "unrolling": ("recurrent layers of static time are written out step by step", "tensorflow#62849"),
    "masks_in_order_of_steps": ("masked layers that go backwards go forwards over a reversed sequence", "keras `rnn`"),
    "loops_over_tensors": ("recurrent loops keep their steps in a tensor instead of a list", "tensorflow#62849"),
    "grouped": ("a grouped convolution is one convolution for each group", "tfjs#8304"),
    "pad_in_numbers": ("a convolution whose stride is longer than its kernel is padded in numbers", "tfjs#8405"),
    "keep_zeros_out_of_pools": ("the input of a MaxPool is padded with 1e-38, not with zero", "onnxruntime#18136"),
    "elu_in_arithmetic": ("ELU is written with Relu and Exp", "LiteRT register_ref.cc"),
    "outputs_apart": ("outputs that share a tensor get separate tensors", "LiteRT signature_runner.ts"),
    "fusions": ("fused operators that not every backend runs are flattened or taken apart", "tfjs#8304"),
}
"""Name of a rewrite (its function or module) -> the difference, in words for the report, and the upstream thread."""

_RECORDED: ContextVar[set[str] | None] = ContextVar("recorded_rewrites", default=None)


@contextmanager
def recorded_rewrites() -> Iterator[set[str]]:
    """Yields a set, and adds each name passed to `record_rewrite` to it, while active."""
    names: set[str] = set()
    token = _RECORDED.set(names)
    try:
        yield names
    finally:
        _RECORDED.reset(token)


def record_rewrite(name: str) -> None:
    """Records that a rewrite was applied; does nothing outside of `recorded_rewrites`."""
    recorded = _RECORDED.get()
    if recorded is not None:
        recorded.add(name)


def rewrite_findings(names: Iterable[str]) -> tuple[Finding, ...]:
    """Builds the findings that report rewrites, in the order of the table."""
    wanted = set(names)
    return tuple(
        Finding(code=name.replace("_", "-"), blocking=False, message=f"{says} ({source})")
        for name, (says, source) in REWRITES.items()
        if name in wanted
    )
