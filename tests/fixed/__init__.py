"""Tests of fxptrain.fixed."""
