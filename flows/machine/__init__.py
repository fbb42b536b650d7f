"""TODO tour of flows/machine."""
