"""TensorFlow and Keras, imported once, for the process that jobs fork from.

In: nothing. Out: both in `sys.modules`. Keras imports scikit-learn for its wrappers whenever it is installed, and the
copy of Keras inside TensorFlow imports SciPy to know sparse matrices: more than a second of five, for what no export
needs. Meanwhile neither is there to be found; afterwards a user's own code may import them as always.

Only `exporters.jobs.fork_server` imports this module.
"""

import sys

_UNNEEDED = ("sklearn", "scipy")

sys.modules.update(dict.fromkeys(_UNNEEDED))  # type: ignore[arg-type]  # how Python spells "cannot be imported"

import keras  # noqa: E402, F401
import tensorflow  # noqa: E402, F401, ICN001

for _name in _UNNEEDED:
    del sys.modules[_name]
