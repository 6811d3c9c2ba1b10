"""geosynth learns how places and their labels look together, and makes more of both."""

__version__ = "0.1.0"
