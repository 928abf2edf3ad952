"""`python -m inpaint_hpc`: the command line, for torchrun and for machines without the script on the path."""

from inpaint_hpc.cli.main import main

main()
