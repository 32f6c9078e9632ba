"""What operators are told of a process: how it is, and what is wrong with it, its machine and its Redis."""
