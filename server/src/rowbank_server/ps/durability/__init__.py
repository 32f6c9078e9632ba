"""What makes mutations last: commits, recognised repeats, write-back, recovery, and the moment of a snapshot."""
