"""How models made elsewhere come in: a float model becomes an integer recipe and a run that can be trained on.

What does not belong here: how models leave (`export`) and the command line.
"""
