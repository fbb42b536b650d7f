"""TODO tour of validators/release."""
