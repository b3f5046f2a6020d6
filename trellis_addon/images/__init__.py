"""Pictures in: from whatever the user has to an upright RGBA image with its subject cut out.

To read in this order:

limits         how much of a picture is taken, and how much can be used
reading        what was given, a file, an array or a web address, to upright pixels, RGBA of 8 bits in sRGB
names          names for what comes of a picture

cutout         a plain background removed, or a mask put in its place
key            the colour of a background that is removed wherever it is
keying         and removing it
marks          a subject that was marked by a box or strokes, cut out of any background
segmentation   ... told from its background by their colours
matting        ... its soft outline
srgb           the values of pictures and the light that they stand for
pixels         what is done to pixels as arrays
subject        where the subject is, by its alpha
frame          the square that the model looks at
correction     what of the outline and of that square is corrected by hand
correcting     and doing it

consistency    whether pictures of several sides can be of one object
preparing      all of it: a picture ready for a task, or a sentence

Blender's image datablocks come in through `scene.images`. Everything that would waste a job is refused
here, with a sentence.
"""

from .correction import Correction
from .key import ColourKey
from .limits import MAX_BYTES, MAX_PIXELS, MAX_SIDE
from .names import clean_name, readable
from .preparing import LATER, LATER_NOTICE, SMALL_SUBJECT, STUDIO_NOTICE, WHOLE, PreparedImage, load_image, prepare
from .reading.decoding import decode
from .reading.folder import DROPPED_EXTENSIONS, EXTENSIONS, OTHER_EXTENSIONS, find_images, find_pictures
from .reading.sources import find_path, image_kind, meant, read_image_bytes
from .reading.web import FETCH_TIMEOUT, fetch
from .subject import subject_box

__all__ = [
    "DROPPED_EXTENSIONS",
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
    "ColourKey",
    "Correction",
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
