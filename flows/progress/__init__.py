"""Shows progress: `events` of a run, `display` for a terminal, `log_levels` for lines that other programs write."""
