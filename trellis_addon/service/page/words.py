"""The page's sentences, and their translations.

`PAGE` is every sentence that the page's files use, as `tools/make_translations.py` finds them; a test holds that they
agree. What Blender's interface has already (labels, presets, names of stages) is taken from its words.
"""

from __future__ import annotations

import functools
import json
import re

from ...core.folders import EXTENSION
from ...core.messages import message
from ..protocol import JsonObject
from . import BUILT

# the second is for an installation that has no extension around it
_LOOKED_IN = (EXTENSION / "translations", BUILT / "words")
_QUALITY = re.compile(r";\s*q\s*=\s*([0-9.]+)")
_TRADITIONAL = re.compile(r"zh-(hant|tw|hk|mo)")

PAGE = (
    message("1 task"),
    message("Add the {view} view"),
    message("Administration"),
    message("All Settings"),
    message("Asset {number}"),
    message("Assets to be made"),
    message("Box around the subject: arrow keys move it, with Shift they change its size"),
    message("Camera..."),
    message("Cancel All"),
    message("Cancel all tasks of {person}?"),
    message("Choose Pictures..."),
    message("Close"),
    message("Copied"),
    message("Copy Link"),
    message("Cut It Out"),
    message("Cutting the subject out"),
    message("Default ({value})"),
    message("Device"),
    message("Devices"),
    message("Disk"),
    message("Done"),
    message("Download the asset of {time}"),
    message("Draw a box around all of it and a little more."),
    message("Drop pictures here, or paste them"),
    message("Engine"),
    message("For somebody who has a token"),
    message("Gallery"),
    message("Have the token of {person} count no more?"),
    message("Its picture came with the task and is not kept here: send it again from where it came from."),
    message("Its picture is not kept here."),
    message("Kept files"),
    message("Kept picture"),
    message("Known with the first task"),
    message("Let It Run Empty"),
    message("Link"),
    message("Make Variations"),
    message("Memory"),
    message("More"),
    message("New Asset"),
    message("Notes"),
    message("Nothing"),
    message("Nothing has been made here yet. Give it a picture of an object."),
    message("Nothing has gone wrong lately."),
    message("Off"),
    message("On"),
    message("On its way"),
    message("One of the pictures cannot be used yet."),
    message("Pause"),
    message("Paused: nothing begins"),
    message("People"),
    message("Picture: {view}"),
    message("Pictures in, finished 3D assets out. Sign in with the token that this service was started with."),
    message("Pictures of one object"),
    message("Progress"),
    message("Relatives of this asset: near to it with a small variation, far with a large one."),
    message("Remove the {view} view"),
    message("Result"),
    message("Revoke"),
    message("Revoked"),
    message("Sign In"),
    message("Sign Out"),
    message("Signed in as"),
    message("Skip to the gallery"),
    message("State"),
    message("TRELLIS.2 Service"),
    message("Take Picture"),
    message("Take its picture and settings over, to change some"),
    message("Takes no more tasks in"),
    message("Task of {time}"),
    message("That is no picture: give a PNG, JPEG or WebP."),
    message("The Model's Own"),
    message("The draft does without the settings that are dimmed."),
    message("The last errors ({count})"),
    message("The picture"),
    message("The picture cannot be read; choose it again."),
    message("The same asset with another number of faces or another size of texture; nothing is sampled."),
    message("The same picture and settings with another seed"),
    message("The same picture, settings and seed once more"),
    message("The same shape with a new texture"),
    message("The service does not answer; is it running?"),
    message("The service does not answer; it is tried again."),
    message("The token is not this service's any more; sign in with another one."),
    message("The token stays in this page's memory: it is asked for again whenever the page is opened anew."),
    message("The whole asset of this rough shape; nothing is sampled twice"),
    message("This installation shows pictures only: it was built without model-viewer."),
    message("Today"),
    message("Took"),
    message("Top"),
    message("Use Settings"),
    message("Variations..."),
    message("Version"),
    message("What the camera sees"),
    message("Worked on at a time"),
    message("Works as usual"),
    message("{count} tasks"),
    message("{count} tasks, and older ones"),
    message("{degrees} degrees"),
    message("{done} of {count} results"),
    message("{free} free of {total}"),
    message("{group}: {field}"),
    message("{running} running, {waiting} waiting"),
    message("{size} GB"),
    message("{size} MB"),
    message("{used} of {quota}"),
    message("{value} {unit}"),
    message("{view}: {name}"),
    message("{what}: {done} %"),
)


def dictionary(languages: str) -> JsonObject:
    """The `language` (a BCP 47 tag) and the `words` from English to it, of the first of these languages that is known.

    `languages` is an Accept-Language header. English, and an empty dictionary, where none is.
    """
    for wanted in _wanted(languages):
        if wanted == "en" or wanted.startswith("en-"):
            break
        for tag, name in _known().items():
            is_same = wanted == tag.lower() or wanted.partition("-")[0] == tag.partition("-")[0]
            if is_same and not _TRADITIONAL.match(wanted):
                return {"language": tag, "words": _words(name)}
    return {"language": "en", "words": {}}


def _wanted(languages: str) -> list[str]:
    """The tags of an Accept-Language header, the most wanted first."""
    found = []
    for place, part in enumerate(languages[:500].split(",")):
        quality = _QUALITY.search(part)
        try:
            weight = float(quality[1]) if quality else 1.0
        except ValueError:
            weight = 0.0
        tag = part.partition(";")[0].strip().lower().replace("_", "-")
        if tag and weight > 0:
            found.append((-weight, place, tag))
    return [tag for _, _, tag in sorted(found)]


@functools.cache
def _known() -> dict[str, str]:
    """The languages that there are files for: tag -> the file's name."""
    names = {path.stem for folder in _LOOKED_IN for path in folder.glob("*.json")}
    return {_tag(name): name for name in sorted(names)}


def _tag(name: str) -> str:
    """Blender's name of a language as browsers write it: de_DE is "de", zh_HANS "zh-Hans"."""
    language, _, rest = name.partition("_")
    return f"{language}-{rest.capitalize()}" if len(rest) == 4 else language


@functools.cache
def _words(name: str) -> dict[str, str]:
    folder = next(folder for folder in _LOOKED_IN if (folder / f"{name}.json").is_file())
    found: dict[str, str] = {}
    for path in (folder / f"{name}.json", folder / "sentences" / f"{name}.json"):
        if path.is_file():
            words = json.loads(path.read_text(encoding="utf-8"))
            found |= {english: other for english, other in words.items() if other}
    return found
