"""`python -m facelesion` is the command line."""

from facelesion.cli import main

if __name__ == "__main__":
    main()
