"""Rules that others wrote in Sigma, as queries over what hunting brings."""
