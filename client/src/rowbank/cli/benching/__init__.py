"""`rowbank bench`: how fast a running server pulls and pushes, measured on a table of its own."""
