"""Conformance suites: what every source, sink, localizer, linker and recording must do.

A suite is a class of tests, which whoever implements one of these kinds inherits in their own tests
and tells how to make one. Importing a suite imports no test runner; pytest runs it.
"""

__all__ = ["linker", "localizer", "recording", "refusal", "samples", "sink", "source"]
