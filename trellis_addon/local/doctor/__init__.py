"""A report that makes a support thread short.

report     what is there, how fast it is, what went wrong last
selftest   ten seconds of arithmetic on the device
redact     keys, tokens and names are taken out
"""
