"""Settings of a training follow from the windows, a run, or the command; settings that do not fit are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.written_windows import tiny_spec, written_manifest
from textgen import presets
from textgen.errors import UserError
from textgen.runs.chosen_spec import ChosenSpec, chosen_spec, fitting_presets
from textgen.runs.start import check_resumes, start_run
from textgen.spec import RunSpec, override
from textgen.windows.manifest import Manifest

TEXTS = {"train": ["the cat sat"] * 30, "val": ["the hat"] * 3}


def made_with(folder: Path, preset: str, *, recorded: bool = True, **changes: Any) -> Manifest:
    """Writes windows as an ingest with a preset and settings would write them, and reads them back."""
    spec = override(presets.preset(preset), {name.replace("__", "."): value for name, value in changes.items()})
    written = written_manifest(str(folder), TEXTS, unit=spec.windows.unit, separator=spec.windows.separator, spec=spec)
    dataclasses.replace(written, preset=preset if recorded else None).save()
    return Manifest.load(str(folder))


def chosen(manifest: Manifest, preset: str | None = None, **settings: str) -> ChosenSpec:
    return chosen_spec(
        manifest, preset=preset, settings={name.replace("__", "."): value for name, value in settings.items()}
    )


@pytest.mark.parametrize("name", presets.PRESET_NAMES)
def test_every_preset_trains_the_windows_that_it_made(name: str, tmp_path: Path) -> None:
    manifest = made_with(tmp_path, name)
    assert chosen(manifest).spec == chosen(manifest, name).spec == presets.preset(name)
    assert name in fitting_presets(manifest)


def test_without_a_preset_the_windows_decide_preset_and_settings(tmp_path: Path) -> None:
    settings = {"windows__min_count": 3, "windows__context_length": 24, "windows__stride": 24}
    manifest = made_with(tmp_path, "tiny", corpus__condition_on=("label",), **settings)
    spec, reason = vars(chosen(manifest)).values()
    assert (spec.preset, spec.training) == ("tiny", presets.preset("tiny").training)
    assert (spec.windows.min_count, spec.windows.context_length, spec.windows.stride) == (3, 24, 24)
    assert spec.corpus.condition_on == ("label",)
    assert reason == f"preset tiny: {manifest.uri} was made with it"
    assert chosen(manifest, "tiny").spec == spec


def test_a_preset_gives_up_its_counts_where_there_are_too_many_characters(tmp_path: Path) -> None:
    texts = {"train": ["".join(map(chr, range(0x4E00, 0x4E00 + number))) for number in (200, 300)]}
    spec = presets.preset("novel_best")
    dataclasses.replace(written_manifest(str(tmp_path), texts, spec=spec), preset="novel_best").save()
    manifest = Manifest.load(str(tmp_path))
    found = chosen(manifest)
    assert found.spec == override(spec, {"model.counts_order": None})
    assert f"without its counts, which are for up to 256 different characters ({manifest.uri} has 302" in found.reason
    assert chosen(manifest, model__counts_order="4").spec.model.counts_order == 4  # Refused where it is counted.


def test_the_lengths_of_windows_may_differ_but_settings_that_determine_ids_may_not(tmp_path: Path) -> None:
    manifest = made_with(tmp_path, "reviews")
    spec = chosen(manifest, windows__context_length="16", windows__stride="16", corpus__origin="a shop").spec
    assert (spec.windows.context_length, spec.windows.min_count, spec.corpus.origin) == (16, 5, "a shop")
    assert chosen(manifest, windows__min_count="5").spec == chosen(manifest).spec
    with pytest.raises(UserError, match=r"windows\.min_count is 2 but .* was made with 5"):
        chosen(manifest, windows__min_count="2")
    with pytest.raises(UserError, match=r"corpus\.rules is \['lower'\] but"):
        chosen(manifest, "reviews", corpus__rules="[lower]")


def test_another_preset_of_the_same_kind_brings_its_model_and_lengths(tmp_path: Path) -> None:
    manifest = made_with(tmp_path, "tiny")
    larger = chosen(manifest, "reviews_best")
    assert larger.spec.model == presets.preset("reviews_best").model
    assert (larger.spec.windows.context_length, larger.spec.windows.min_count) == (64, 1)
    assert larger.reason == f"preset reviews_best, as given; {manifest.uri} was made with tiny"


def test_a_preset_with_other_rules_or_units_is_refused_with_the_settings_of_the_windows(tmp_path: Path) -> None:
    manifest = made_with(tmp_path / "tiny", "tiny")
    with pytest.raises(
        UserError, match=r"--preset novel_best does not fit .* made with the preset tiny, corpus\.rules"
    ):
        chosen(manifest, "novel_best")
    with pytest.raises(UserError, match=r"--preset sentiment does not fit .*windows\.unit characters, not words"):
        chosen(manifest, "sentiment")
    words = made_with(tmp_path / "words", "sentiment")
    with pytest.raises(UserError, match=r"the preset sentiment, windows\.unit words, not characters"):
        chosen(words, "reviews_best")


def test_rules_given_to_the_ingest_hold_for_every_preset_of_its_kind(tmp_path: Path) -> None:
    manifest = made_with(tmp_path, "reviews", corpus__rules=("lower", "mark_repeats"))
    assert chosen(manifest, "reviews_best").spec.corpus.rules == ("lower", "mark_repeats")
    spec = chosen(manifest, "reviews_best", training__global_batch_size="2").spec
    start_run(spec, manifest_uri=manifest.uri, output=str(tmp_path), run_name="run")


def test_the_preset_of_older_windows_is_known_if_only_one_fits(tmp_path: Path) -> None:
    tiny = made_with(tmp_path / "tiny", "tiny", recorded=False, windows__context_length=24, windows__stride=24)
    assert (chosen(tiny).spec.preset, chosen(tiny).spec.windows.context_length) == ("tiny", 24)
    assert "the only one" in chosen(tiny).reason
    reviews = made_with(tmp_path / "reviews", "reviews", recorded=False)
    with pytest.raises(UserError, match=r"does not say .* reviews and reviews_best would fit; name one with --preset"):
        chosen(reviews)
    own = made_with(tmp_path / "own", "reviews", recorded=False, corpus__rules=("lower",))
    with pytest.raises(UserError, match=r"none would fit; name one with --preset"):
        chosen(own)
    assert chosen(own, "tweets_best").spec.corpus.rules == ("lower",)  # The rules are the user's, who knows what fits.
    with pytest.raises(UserError, match="does not fit"):
        chosen(reviews, "tweets")


def test_a_manifest_that_lacks_later_fields_keeps_its_meaning(tmp_path: Path) -> None:
    manifest = made_with(tmp_path, "tiny", recorded=False)
    old = {name: value for name, value in manifest.corpus.items() if name not in ("condition_on", "keep_categories")}
    assert chosen(dataclasses.replace(manifest, corpus=old)).spec.preset == "tiny"


def test_an_unknown_preset_in_a_manifest_is_named(tmp_path: Path) -> None:
    manifest = dataclasses.replace(made_with(tmp_path, "tiny"), preset="poems")
    with pytest.raises(UserError, match=r"made with the preset 'poems', which this version of textgen does not have"):
        chosen(manifest)


def test_a_run_resumes_with_its_own_settings(tmp_path: Path) -> None:
    manifest = made_with(tmp_path / "windows", "tiny")
    started = override(tiny_spec(), {"training.learning_rate": 0.5})
    start_run(started, manifest_uri=manifest.uri, output=str(tmp_path), run_name="run")
    run_uri = str(tmp_path / "run")
    longer = chosen_spec(manifest, preset=None, settings={"training.max_steps": "900"}, run_uri=run_uri)
    assert longer.spec == override(started, {"training.max_steps": 900})
    assert longer.reason == f"preset tiny: the run {run_uri} was started with it and keeps its settings"
    check_resumes(run_uri, longer.spec, manifest)
    new = chosen_spec(manifest, preset=None, settings={}, run_uri=str(tmp_path / "other"))
    assert new.spec == presets.preset("tiny")


def test_an_older_run_resumes_even_if_its_windows_settings_differ_from_the_manifest(tmp_path: Path) -> None:
    manifest = made_with(tmp_path / "windows", "tiny", windows__min_count=2)
    before: RunSpec = presets.preset("tiny")
    content = {"manifest_uri": manifest.uri, "manifest_hash": manifest.hash, "spec": before.to_dict()}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    check_resumes(str(tmp_path / "run"), chosen(manifest, "tiny").spec, manifest)
