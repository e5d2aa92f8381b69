# The types of spool.py, which is compiled with them.
