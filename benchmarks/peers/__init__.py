"""Contenders of `benchmarks.side_by_side`: programs that do the same work in different ways.

`one_hot_keras`, `pytorch_lstm` and `sgemm` import nothing from textgen, so they can run in a separate environment.
"""
