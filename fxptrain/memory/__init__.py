"""The byte plan: what a training step takes, what fits, and what it looks like."""
