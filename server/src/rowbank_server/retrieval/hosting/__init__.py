"""The models and versions that one process serves: which are loaded, and which of them answers a query."""
