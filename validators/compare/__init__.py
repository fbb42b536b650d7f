"""TODO tour of validators/compare."""
