"""``--to onnx``: a model as an ONNX graph that gives the same integers, and the proof by onnxruntime (extra ``onnx``).

Graphs are built as plain values; the libraries are loaded where bytes are written or a graph is run, nowhere else.
"""
