"""The way through: from a source and an exercise to a published output.

Composes every room below; only the command line and the public interface import it.
"""
