"""How much more than usual the drills and the interoperability tests do: `SCALE` times the messages, kills and seeds.

`make test` runs them at 1; `make interop` at 10.
"""
import os

SCALE = int(os.environ.get("SCALE", "1"))
