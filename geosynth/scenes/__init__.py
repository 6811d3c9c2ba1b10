"""Whole rasters: windows read out of scenes, labels brought onto their pixels, class rasters written."""
