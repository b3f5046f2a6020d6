"""What tasks bring in and what comes out of them: pictures, meshes, latents, and where they lie.

folder      where all of that lies, for a run or for good
files       results and uploads behind addresses that cannot be guessed
addresses   web addresses in tasks, and where they may not lead
media       pictures and latents that come in
previews    small pictures of what went in and came out
delivery    webhooks and uploads of finished files
"""
