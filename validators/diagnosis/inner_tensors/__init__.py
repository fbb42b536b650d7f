"""Opens an artifact so that it shows its inner tensors: one module for each format, run by `job`."""
