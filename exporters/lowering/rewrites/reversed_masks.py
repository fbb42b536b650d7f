"""Reverses the masks of layers that are written out and go backwards.

Keras' `rnn` zeroes the outputs of masked steps (`zero_output_for_mask`, which Bidirectional sets) with the mask in the
order of the input, also where the steps run from the last to the first; written as a loop it takes the mask in the
order of the steps. So an unrolled copy of a masked Bidirectional layer zeroes other steps than the original. Here the
sequence and its mask are reversed first, and the layer goes forwards. TF.js' wasm backend reverses booleans wrongly
(see `recurrent_loops`): the mask is reversed as numbers.

Removable when `rnn` of Keras 3 and of tf_keras reverses the mask in its unrolled branch.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def masks_in_order_of_steps() -> Iterator[None]:
    """Makes `rnn` of both Keras go forwards over a reversed sequence where it would unroll backwards, while active."""
    with ExitStack() as patches:
        for backend in filter(None, map(sys.modules.get, ("keras.src.backend", "tf_keras.src.backend"))):
            patches.enter_context(mock.patch.object(backend, "rnn", _forwards(backend.rnn)))
        yield


def _forwards(rnn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(rnn)
    def called(
        step: Any, inputs: Any, *states: Any, mask: Any = None, go_backwards: bool = False, **options: Any
    ) -> Any:
        import tensorflow as tf

        if go_backwards and mask is not None and options.get("unroll"):
            record_rewrite("masks_in_order_of_steps")
            time = 0 if options.get("time_major") else 1
            inputs = tf.nest.map_structure(lambda each: tf.reverse(each, [time]), inputs)
            mask = tf.cast(tf.reverse(tf.cast(mask, tf.int32), [time]), tf.bool)
            go_backwards = False
        return rnn(step, inputs, *states, mask=mask, go_backwards=go_backwards, **options)

    return called
