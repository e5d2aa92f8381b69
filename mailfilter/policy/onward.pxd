# The types of onward.py, which is compiled with them.
