"""Pages and tables that reports are made of."""
