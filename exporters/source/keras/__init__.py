"""TODO tour of exporters/source/keras."""
