"""The training store as a task sees it, and its batches."""
