"""From noise to latents.

hold       what is known stays while the rest is sampled
samplers   Euler steps of a rectified flow, guidance in an interval of time
views      several pictures of one object: how much each has to say at each place
denoise    one sampling: what stays the same over its steps is computed once
"""
