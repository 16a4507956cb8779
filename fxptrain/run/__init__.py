"""A run: training, evaluation, and the files of both."""
