"""TODO tour of flows/pipeline."""
