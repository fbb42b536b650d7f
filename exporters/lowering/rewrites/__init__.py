"""TODO tour of exporters/lowering/rewrites."""
