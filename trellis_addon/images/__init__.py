"""Pictures in: from whatever the user has to an upright RGBA image with its subject cut out.

To read in this order:

sources   what was given (a path, bytes, a web address, a data URI, Base64) to a file's bytes; `web` fetches,
          `folder` lists, `names` makes a name of it
decoding  the bytes to upright pixels, RGBA of 8 bits in sRGB; `formats` names what cannot be used, `png` reads what
          Pillow does not of a PNG, `colour` has profiles and depths, `profiles` makes profiles of other descriptions
cutout    a plain background removed, or a mask put in its place; `pixels` has what is done to arrays
marks     a subject that was marked by a box or strokes, cut out of any background: `segmentation` tells it from that,
          `matting` softens its outline
subject   where the subject is, by its alpha
preparing all of it: a picture ready for a task, or a sentence

Blender's image datablocks come in through `scene.images`. Everything that would waste a job is refused
here, with a sentence.
"""

from .decoding import decode
from .folder import EXTENSIONS, OTHER_EXTENSIONS, find_images, find_pictures
from .limits import MAX_BYTES, MAX_PIXELS, MAX_SIDE
from .names import clean_name, readable
from .preparing import LATER, LATER_NOTICE, SMALL_SUBJECT, STUDIO_NOTICE, WHOLE, PreparedImage, load_image, prepare
from .sources import find_path, image_kind, meant, read_image_bytes
from .subject import subject_box
from .web import FETCH_TIMEOUT, fetch

__all__ = [
    "EXTENSIONS",
    "FETCH_TIMEOUT",
    "LATER",
    "LATER_NOTICE",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "OTHER_EXTENSIONS",
    "SMALL_SUBJECT",
    "STUDIO_NOTICE",
    "WHOLE",
    "PreparedImage",
    "clean_name",
    "decode",
    "fetch",
    "find_images",
    "find_path",
    "find_pictures",
    "image_kind",
    "load_image",
    "meant",
    "prepare",
    "read_image_bytes",
    "readable",
    "subject_box",
]
