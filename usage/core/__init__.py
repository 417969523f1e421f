"""Tokens, prices and ledger events as plain values. Knows no Django, no store and no clock."""
