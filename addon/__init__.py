"""What Blender keeps of this extension, for buttons and panels alike: both stand on it, and neither knows the other.

preferences        the key, the service, how the artist likes things; which backend that makes
local_properties   what the preferences keep about the local backend
handover           the folders that were chosen, for the next installation
variables          what the preferences say of this machine, told to the library
numbers            what Blender saves of a choice in a list
properties         the task's settings as properties of the scene
backend_state      what the artist should know of a backend before it is asked
picture_state      whether the panel's picture can be used there
service_answers    what came of asking a service whether it is there
local_words        words for the state of the local backend
translations       the interface in other languages
loaded             a look at what is loaded, without loading it
name               what Blender calls this extension
logs               what the console shows, and the last warnings
help               the manual, and what helps to find a fault
"""

from . import properties, translations

_modules = (translations, properties)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
