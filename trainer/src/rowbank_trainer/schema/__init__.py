"""What the users and items of a model are made of: a declared schema of columns and tables."""
