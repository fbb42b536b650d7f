"""Files of a release: `hashing` digests them, `atomic` writes them in one step; `locks` locks between processes."""
