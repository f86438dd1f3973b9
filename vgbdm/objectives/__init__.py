"""Ways to learn a field; every objective is called alike and answers per sample."""
