"""What the cells of a column mean: ids, times, weights and titles, and which of them cannot be used."""
