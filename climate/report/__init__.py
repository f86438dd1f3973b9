"""Pages and pictures of forecasts, their scores and comparisons."""
