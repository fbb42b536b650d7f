"""Stands in for TensorFlow in the preloaded process: importing it takes a while."""

import time

time.sleep(1.0)
