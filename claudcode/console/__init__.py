"""The console's home, and data to try it with. What a table's own page shows is in its app."""
