"""Stands in for TensorFlow in the fork server: importing it takes a while."""

import time

time.sleep(1.0)
