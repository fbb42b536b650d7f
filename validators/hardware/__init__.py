"""TODO tour of validators/hardware."""
