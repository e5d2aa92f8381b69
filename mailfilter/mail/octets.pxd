# The types of octets.py, which is compiled with them.

cdef bytes _encoded(str text)
