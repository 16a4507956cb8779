"""How a trained model leaves: C99 with the same bits, plain integers for other tools, and the proof that they agree.

What does not belong here: C logic (`runtime/` holds it as real C files) and the command line.
"""
