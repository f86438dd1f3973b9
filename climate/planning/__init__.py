"""What runs take, said before there are data."""
