# The types of octets.py, which is compiled with them.
