"""Contenders of `benchmarks.side_by_side`: processes that train the same shape in another way, each by itself.

What is here imports nothing of textgen but in `ours`, so that it runs in an environment of its own.
"""
