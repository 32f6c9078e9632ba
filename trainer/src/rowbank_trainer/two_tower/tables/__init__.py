"""The tables a two-tower model can keep its rows in."""
