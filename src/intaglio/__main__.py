"""`python -m intaglio`, the command line; the form that `torchrun -m` needs."""

from intaglio.cli import main

if __name__ == "__main__":
    main()
