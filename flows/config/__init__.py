"""TODO tour of flows/config."""
