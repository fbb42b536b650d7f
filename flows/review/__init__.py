"""Reviews a finished release: `gate` judges it with its attestations, `decisions` records what people decide."""
