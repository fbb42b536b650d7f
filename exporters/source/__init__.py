"""TODO tour of exporters/source."""
