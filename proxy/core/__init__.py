"""How a request is read and an answer metered, as plain values. Knows no socket and no clock."""
