"""TODO tour of validators/reference."""
