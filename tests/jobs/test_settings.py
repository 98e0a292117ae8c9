"""The job `settings`: the fields that it finds by name, as tables and as JSON."""

from __future__ import annotations

import json

import pytest

from jobs.settings import main, written
from textgen import presets
from textgen.errors import UserError
from textgen.spec import override
from textgen.spec.fields import fields_in_words, paths


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    main(list(argv))
    return capsys.readouterr().out


def test_sections_and_fields_by_any_name_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "sampling", "lr", "model.units", "--preset", "novel", "--json"))
    assert found["preset"] == "novel"
    by_path = {field["path"]: field for field in found["fields"]}
    assert set(by_path) == {path for path in paths() if path.startswith("sampling.")} | {
        "training.learning_rate",
        "model.units",
    }
    assert by_path["training.learning_rate"]["value"] == presets.preset("novel").training.learning_rate
    assert set(by_path["model.units"]) == {"path", "type", "value", "unit", "meaning"}
    everything = json.loads(printed(capsys, "--json"))
    assert [field["path"] for field in everything["fields"]] == paths()


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_of_any_width_shows_everything(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = " ".join(printed(capsys, "--preset", "tiny").split())
    for field in fields_in_words(presets.preset("tiny")):
        assert field.path in shown
        assert columns < 200 or field.meaning.split()[-1] in shown
    assert "[0.5,0.7,0.85,1.0]" in shown.replace(" ", "")
    for name in presets.PRESET_NAMES:
        assert name in printed(capsys, "--presets")
    assert [row["preset"] for row in json.loads(printed(capsys, "--presets", "--json"))["presets"]] == list(
        presets.PRESET_NAMES
    )


@pytest.mark.parametrize("name", presets.PRESET_NAMES)
def test_values_are_written_in_the_syntax_of_set(name: str) -> None:
    spec = presets.preset(name)
    # Empty or padded texts are quoted to be visible; `--set` does not read the quotes.
    values = {field.path: written(field.value) for field in fields_in_words(spec) if field.value not in ("", " ")}
    shown = override(spec, {"corpus.origin": "", **values})
    assert shown == spec


def test_an_unknown_name_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"'sampeling'; the nearest known names are sampling"):
        main(["sampeling"])
    with pytest.raises(UserError, match="there is no preset 'none'"):
        main(["--preset", "none"])
