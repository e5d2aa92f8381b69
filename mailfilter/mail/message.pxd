# The types of message.py, which is compiled with them.
