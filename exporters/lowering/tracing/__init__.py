"""TODO tour of exporters/lowering/tracing."""
