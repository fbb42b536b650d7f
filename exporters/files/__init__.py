"""Files of a release: `hashing` digests them, `atomic` puts them under their final names in one step."""
