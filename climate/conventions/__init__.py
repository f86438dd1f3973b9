"""What channels, units, steps and dates are called, and the cycles of the calendar."""
