"""TODO tour of exporters/formats."""
