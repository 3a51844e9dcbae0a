"""Benchmarks that a person can run: the entropy coder beside other people's (`intaglio bench coder`)."""
