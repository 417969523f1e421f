"""What was used and what it cost: ledger, roll-ups, prices, and the pages that show them."""
