"""``python -m geosynth_cli``: the program without its launcher, for those who chose an interpreter."""

from geosynth_cli.main import run

if __name__ == "__main__":
    run()
