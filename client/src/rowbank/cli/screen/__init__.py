"""What answers look like on a screen and in files: texts, tables, CSV, and what the terminal has."""
