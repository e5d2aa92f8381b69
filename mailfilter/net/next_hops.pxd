# The types of next_hops.py, which is compiled with them.
