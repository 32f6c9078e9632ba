"""`python -m rowbank.cli`, for environments whose scripts are not on PATH."""

from rowbank.cli import main

main()
