import sys

try:
    from .cli import main

    code = main()
except KeyboardInterrupt:  # before the command had begun
    print("\nStopped.", file=sys.stderr)
    code = 130
sys.exit(code)
