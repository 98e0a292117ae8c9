"""The background processes of a checkout on its own machine: an S3 server and a Ray head.

Both listen only on 127.0.0.1. They are started once, reused by later commands, and stopped together. See
`python -m textgen.local --help`.
"""
