"""The outside world, one file for each thing that is asked or given something.

Imports mail; knows no sessions and no policies.
"""
