"""Tests of fxptrain.testing."""
