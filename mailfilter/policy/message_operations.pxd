# The types of message_operations.py, which is compiled with them.
