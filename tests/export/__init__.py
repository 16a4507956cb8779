"""Tests of the export: the C is compiled and must give Python's integers."""
