"""The page, the table and the pictures that an evaluation leaves."""
