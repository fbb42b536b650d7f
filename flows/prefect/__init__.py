"""TODO tour of flows/prefect."""
