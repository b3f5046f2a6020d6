"""What this machine has.

hardware     graphics cards, memory, disk
gpu_memory   which programs hold a graphics card's memory
"""
