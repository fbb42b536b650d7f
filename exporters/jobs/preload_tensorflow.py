"""Imports TensorFlow and Keras once, in the fork server.

In: nothing. Out: both in `sys.modules`. Keras imports scikit-learn for its wrappers whenever it is installed, and the
copy of Keras inside TensorFlow imports SciPy to recognise sparse matrices. That takes more than one second of five, and
no export needs it. So both packages are hidden during the import; afterwards a user's own code can import them.

Only `exporters.jobs.fork_server` imports this module.
"""

import sys

_UNNEEDED = ("sklearn", "scipy")

sys.modules.update(dict.fromkeys(_UNNEEDED))  # type: ignore[arg-type]  # None makes Python refuse the import

import keras  # noqa: E402, F401
import tensorflow  # noqa: E402, F401, ICN001

for _name in _UNNEEDED:
    del sys.modules[_name]
