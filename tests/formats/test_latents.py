"""Files of latents: what a sound one says, and what is said of all others."""

from __future__ import annotations

import random

import pytest
from conftest import sentence
from fault_server import small_glb
from kept_stages import ROWS, WRONG, latents_file
from service_tools import png

from trellis_addon.core.errors import FieldError, LatentsError
from trellis_addon.formats.latents import FILE_LIMIT, Kept, check_latents, check_rework, describe_making
from trellis_addon.task.settings import Settings


def test_what_a_sound_file_says() -> None:
    settings = Settings(resolution=512, tex_slat_steps=3, webhook_url="http://a.example/")
    made = describe_making(7, settings, ("It was lowered.",), shape_seed=3)
    kept = check_latents(latents_file(metadata={"made": made}))
    assert kept == Kept(512, "512", ROWS, 7, 3, Settings(resolution=512, tex_slat_steps=3), ("It was lowered.",)), (
        "where results were sent is nobody's business"
    )
    assert check_latents(latents_file()) == Kept(512, "512", ROWS)
    assert check_latents(latents_file(resolution="1152", kind="1536_cascade")).resolution == 1152


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_file_is_said(name: str) -> None:
    with pytest.raises(LatentsError) as caught:
        check_latents(latents_file(**WRONG[name]))
    assert sentence(caught.value) and caught.value.code == "invalidLatents"


def test_other_kinds_of_files_are_refused() -> None:
    import io
    import pickle
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", pickle.dumps({"coords": [1]}))
    nested = b"[" * 20_000
    for data in (
        b"", b"x", pickle.dumps({"coords": 1}), archive.getvalue(), png(), small_glb(),
        len(nested).to_bytes(8, "little") + nested, b"\x02" + bytes(7) + b"{}", bytes(FILE_LIMIT + 1),
    ):  # fmt: skip
        with pytest.raises(LatentsError) as caught:
            check_latents(data)
        sentence(caught.value)


def test_no_bytes_at_all_get_past_the_check_by_chance() -> None:
    """What is changed anywhere is refused with a sentence, or is a sound file still; nothing else is raised."""
    dice = random.Random(3)
    sound = latents_file(metadata={"made": describe_making(1, Settings(resolution=512), ())})
    length = int.from_bytes(sound[:8], "little")
    refused = 0
    for _ in range(3000):
        data = bytearray(sound)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(8 + length if dice.random() < 0.8 else len(data))] = dice.randrange(256)
        found = bytes(data[: dice.randrange(len(data))] if dice.random() < 0.1 else data)
        try:
            check_latents(found)
        except LatentsError:
            refused += 1
    assert refused > 2000


def test_what_a_rework_cannot_change() -> None:
    kept = Kept(1024, "1536_cascade", ROWS, 7, None, Settings(resolution=1536, tex_slat_steps=3))
    for settings, with_image in (
        ({"texture_size": 4096, "remesh": False, "decimation_target": 200_000, "texture_format": "png"}, False),
        ({"resolution": 1536, "tex_slat_steps": 3, "seed": 7}, False),
        ({"resolution": 1024}, False),
        ({"seed": 8, "tex_slat_guidance_strength": 3.0, "number_results": 4}, True),
        ({"shape_slat_steps": 12}, True),
    ):
        check_rework(kept, Settings(settings), with_image)
    for settings, with_image, field in (
        ({"resolution": 512}, True, "settings.resolution"),
        ({"sparse_structure_steps": 13}, True, "settings.sparseStructure.steps"),
        ({"shape_slat_rescale_t": 2.0}, False, "settings.shapeSlat.rescaleT"),
        ({"tex_slat_steps": 4}, False, "settings.texSlat.steps"),
        ({"seed": 8}, False, "seed"),
        ({"number_results": 2}, False, "numberResults"),
    ):
        with pytest.raises(FieldError) as caught:
            check_rework(kept, Settings(settings), with_image)
        assert sentence(caught.value) and caught.value.field == field
