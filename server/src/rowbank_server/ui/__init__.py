"""The page at /ui on the HTTP port of every process: its files, what was sampled for it, what it asks for."""
