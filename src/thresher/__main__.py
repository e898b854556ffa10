"""`python -m thresher`, which launchers of several processes start: the program `thresher`."""

from thresher.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
