"""Handles the files of a release: `hashing` digests, `atomic` writes in one step, `locks` locks between processes."""
