"""Exposes the inner tensors of an artifact as outputs of a copy: one module for each format, run by `job`."""
