"""TODO tour of validators/gate."""
