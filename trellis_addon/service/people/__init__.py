"""Who may ask, and what they may: the people of a studio, each with a token of their own.

caller   what is known of whoever asks
tokens   the file of named tokens: added and revoked while the service runs
"""
