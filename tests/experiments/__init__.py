"""Sweeps, on a grid small enough to run in seconds."""
