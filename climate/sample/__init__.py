"""A stand-in atmosphere for machines without ERA5: shallow water, two temperatures, seasons."""
