"""What a production asks of an asset, and whether the asset keeps it.

contract   the rules, read from a JSON file or one of the presets
presets    the rules that game engines, printing and film usually have
budgets    what games ask for in size
facts      what is known of an asset, wherever it was measured
surface    how its surface hangs together
walls      how thin its walls are
glb_facts  the facts of a GLB file
check      rules beside facts: what is broken, and what would mend it
"""
