"""What the service tells those who look after it.

troubles   the last things that went wrong
logs       what the log looks like: lines, or JSON
metrics    what it does in numbers, for Prometheus
"""
