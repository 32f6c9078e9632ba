"""Several processes behind one address: the parent that looks after them, and what they share."""
