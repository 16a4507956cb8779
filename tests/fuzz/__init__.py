"""The fuzzer: malformed input of every format, made from whole files, through the command line.

`mutations` says how something whole is spoilt, `cases` what a case of each format is, `judge` what must hold.
"""
