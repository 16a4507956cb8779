"""Tests of ONNX exports."""
