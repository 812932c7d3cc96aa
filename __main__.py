"""`python -m workerhost` is the command line."""

from .bin.main import main

main()
