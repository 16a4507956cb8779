"""Layers, models and training steps against the oracle."""
