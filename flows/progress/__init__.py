"""TODO tour of flows/progress."""
