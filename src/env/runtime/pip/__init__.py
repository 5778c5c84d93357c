"""Answers for pip in an environment of flambeau: what is installed, read from its metadata. It changes nothing."""

__version__ = "25.0+flambeau"
