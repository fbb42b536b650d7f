"""Runs cells: one artifact in one runtime on one device, compared with the reference.

`job` runs a cell in its own process, `stopwatch` times its calls, `findings` reports what does not decide parity.
"""
