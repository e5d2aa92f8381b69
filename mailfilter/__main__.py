"""`python -m mailfilter`, the same as the program `mailfilter`."""
import sys

from mailfilter.cli import main

if __name__ == "__main__":
    sys.exit(main())
