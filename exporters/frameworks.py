"""TensorFlow and Keras, imported once, for the process that jobs fork from.

In: nothing. Out: both in `sys.modules`. Keras imports scikit-learn for its wrappers whenever it is installed, and
SciPy with it: a second of six, for classes that no export needs. While Keras is imported here, scikit-learn is not
there to be found; afterwards a user's own code may import it as always.

Only `exporters.isolation.host` imports this module.
"""

import sys

sys.modules["sklearn"] = None  # type: ignore[assignment]  # how Python spells "cannot be imported"

import keras  # noqa: E402, F401
import tensorflow  # noqa: E402, F401, ICN001

del sys.modules["sklearn"]
