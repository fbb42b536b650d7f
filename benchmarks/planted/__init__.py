"""Faults that are planted into good artifacts and models, to see who notices; `benchmarks/faults.py` is the way in."""
