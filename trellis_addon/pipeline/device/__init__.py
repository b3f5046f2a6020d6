"""What a device holds, and what it is fastest with.

memory             how much fits
store              networks on and off the device
learned            what was measured of a device, kept for the next session
attention_choice   which of PyTorch's attention kernels a device is fastest with
fused_choice       whether it is better off with norms and gates as one operation each
"""
