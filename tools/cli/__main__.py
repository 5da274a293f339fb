"""`python -m livespt.tools.cli`: the command line without its script."""

from livespt.tools.cli.main import main

main()
