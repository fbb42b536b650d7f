"""TODO tour of exporters/source/readers."""
