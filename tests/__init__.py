"""Tests of fxptrain; the tree mirrors the package, `naive` is the oracle, `house` checks the rules of the code base."""
