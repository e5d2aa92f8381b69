# The types of trace_operations.py, which is compiled with them.
