"""Who runs the gateway: roles, signing in, second factor; `alerts` tells them of trouble."""
