"""Who may call, and within what limits: keys, teams, plans, budgets, scripts that decide."""
