"""Draws additional rows of each kind, over which rounding is measured; no artifact is fed them, and none is kept.

In: the original's answers. Out: inputs by kind of set (`validators.reference.noise_floor.KINDS`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from exporters.contract import TensorSpec
from validators.contract import Tensors
from validators.reference.usable_sets import Answers
from validators.samples.generated import generate
from validators.samples.sample_sets import spread
from validators.samples.user_samples import UserSamples, fixed_batch

MOST_ROWS, LEAST_ROWS, MOST_BEYOND = 256, 8, 32
"""Most and fewest rows that rounding is measured over, and the most beyond the range."""

COST = 1 << 31
"""Most products that one kind of rows may cost: a weight meets every position of an image or sequence once. 256 rows
of a small model, eight of a ResNet50. A bound in seconds would give another tolerance on another machine."""
_SEED = 99


def rows_to_measure(inputs: Sequence[TensorSpec], samples: Tensors, parameters: int) -> int:
    """Returns the number of rows of one kind over which rounding is measured.

    Args:
        inputs: of the original.
        samples: rows of one set, which have the lengths of dynamic axes.
        parameters: how many numbers the model holds.
    """
    positions = max(math.prod(samples[spec.name].shape[1:-1]) for spec in inputs)
    return min(max(COST // max(1, parameters * positions), LEAST_ROWS), MOST_ROWS)


def draw_extra_rows(
    answers: Answers, inputs: Sequence[TensorSpec], user: UserSamples | None, *, parameters: int
) -> dict[str, Tensors]:
    """Draws additional rows by kind: with those of the sets, as many as rounding is measured over.

    Args:
        answers: of the original; a kind without answers gets no additional rows.
        inputs: of the original.
        user: the user's samples.
        parameters: how many numbers the model holds.
    """
    most = rows_to_measure(inputs, answers.samples[answers.sets[0].name], parameters)
    batch = fixed_batch(inputs) or 1
    found: dict[str, Tensors] = {}
    for origin in ("user", "seeded", "beyond"):
        of_kind = [each for each in answers.sets if each.origin == origin]
        limit = MOST_BEYOND if origin == "beyond" else MOST_ROWS
        rows = (min(most, limit) - sum(each.rows for each in of_kind)) // batch * batch
        if not of_kind or rows <= 0:
            continue
        if origin == "user":
            assert user is not None  # noqa: S101 - its sets are there
            chosen = spread(user.rows, min(rows, user.rows // batch * batch))
            found[origin] = {name: array[chosen] for name, array in user.inputs.items()}
        else:
            more = replace(of_kind[0], rows=rows, seed=_SEED)
            found[origin] = generate(more, inputs, drawn=answers.drawn, ranges=answers.ranges)
    return found
