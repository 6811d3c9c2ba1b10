"""A made-up landscape with labels and a known answer: an endless aerial image at 1 m per pixel.

Everything is a pure function of the absolute pixel, the seed and the look; there is no random state.  The plane is cut
into fixed CHUNK x CHUNK squares, each drawn whole and on its own (with a margin for what reaches over its edge), and a
window is assembled from the chunks it touches.  So a window is bit for bit the crop of any larger one.

Layout, from coarse to fine: a jittered lattice of *districts* (Voronoi cells, borders are the through roads), each
settled, industrial, farmed or wild; inside a district a rotated *brick* pattern gives blocks with streets, or parcels;
lots along the streets hold houses; a fine lattice holds tree crowns; a river and lakes cut through all of it.
"""

from __future__ import annotations

from geosynth.world.landscape import Landscape
from geosynth.world.looks import CLASSES, LOOKS

__all__ = ["CLASSES", "LOOKS", "Landscape"]
