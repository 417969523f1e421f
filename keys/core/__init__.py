"""What a key is and what it may do, as plain values. Knows no Django, no store and no clock."""
