"""Tests of `fxptrain.data`."""
