"""Benchmarks: what Mailfilter costs beside programs that do less, measured in the same run.

`python -m bench` (or `make bench`) prints the one table; `python -m bench.parse` times the compiled core alone.
"""
