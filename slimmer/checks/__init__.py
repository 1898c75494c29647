"""Slim against fat: runs both through the same exercise and compares what they did.

The pipeline and the command line use it; it starts programs through `exercise` and `tracer` and writes nothing.
"""
