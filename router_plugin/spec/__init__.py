"""What a router is: its deployments, budgets, options and router strings, and how they are merged and loaded."""
