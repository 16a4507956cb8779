"""Floor 1, how it is computed: plain loops over raw integers, compiled; no formats, no classes."""
