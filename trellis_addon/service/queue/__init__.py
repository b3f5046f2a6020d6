"""What is to be made: written down, and whose turn it is.

journal    what is written down, so that it survives the process
changes    which tasks have changed since somebody looked
tasks      what is known about each task
schedule   whose result is made next
station    what the turns of one device share: a seat at the device, and one at finishing
"""
