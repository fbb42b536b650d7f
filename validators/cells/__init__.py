"""TODO tour of validators/cells."""
