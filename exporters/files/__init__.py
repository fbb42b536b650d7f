"""TODO tour of exporters/files."""
