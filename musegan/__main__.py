"""`python -m musegan` is the console script `musegan`."""

import sys

from musegan.cli import main

if __name__ == "__main__":
    sys.exit(main())
