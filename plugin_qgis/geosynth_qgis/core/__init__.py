"""What the plugin does without Qt and QGIS: find an interpreter, describe commands, run them, watch jobs."""
