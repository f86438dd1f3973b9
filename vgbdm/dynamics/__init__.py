"""What can be integrated, and how: tendencies, physical parameters, known physics, solvers."""
