"""Where an asset comes to stand, and what stands there until it comes.

free_ground   room for something new, beside what stands there
showing       where an asset can be seen
succession    what is made of other objects takes their place
placeholder   the card that stands there until it comes
waiting       objects whose asset is being made again
"""
