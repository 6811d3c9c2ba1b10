"""The panel: pages that fill in Processing algorithms and run them, and what is looked at afterwards."""
