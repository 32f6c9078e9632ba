"""What users did: recorded in histories, in what counts as seen, and in what is popular."""
