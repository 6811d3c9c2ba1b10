"""The Processing provider: one algorithm per command of geosynth."""
