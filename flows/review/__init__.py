"""TODO tour of flows/review."""
