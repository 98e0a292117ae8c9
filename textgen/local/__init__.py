"""What a checkout runs in the background of its own machine: an S3 server and a Ray head.

Both listen on 127.0.0.1 alone, are started once, found again by later commands, and stopped together. See
`python -m textgen.local --help`.
"""
