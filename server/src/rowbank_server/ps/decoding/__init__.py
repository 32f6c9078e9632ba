"""Requests, turned into checked mutations of tables: the same way for a caller and for the journal."""
