"""Flags for settings, and the suggestions for unknown flags."""

from __future__ import annotations

import pytest

from jobs.command_line import job_parser
from jobs.flags import JobParser, add_sampling_settings, add_setting, settings_of
from textgen.errors import UserError

TRAIN = job_parser(job="train", description="", examples=())
add_setting(TRAIN, "--steps", "training.max_steps", metavar="N", default="the preset's")
GENERATE = job_parser(job="generate", description="", examples=(), takes_preset=False)
add_sampling_settings(GENERATE)


def test_flags_are_settings() -> None:
    given = GENERATE.parse_args(["--temperature", "0.5", "--n", "3", "--set", "sampling.top_k=7", "--top-p", "0.9"])
    assert settings_of(given) == {
        "sampling.temperature": "0.5",
        "sampling.n": "3",
        "sampling.top_k": "7",
        "sampling.top_p": "0.9",
    }
    assert settings_of(TRAIN.parse_args([])) == {}


def test_a_flag_and_a_setting_must_agree() -> None:
    assert settings_of(TRAIN.parse_args(["--steps", "100", "--set", "training.max_steps=1e2"])) == {
        "training.max_steps": "100"
    }
    with pytest.raises(UserError, match=r"training\.max_steps is 200 by --set and 100 by the flag"):
        settings_of(TRAIN.parse_args(["--steps", "100", "--set", "training.max_steps=200"]))
    with pytest.raises(UserError, match=r"training\.max_steps is 'many'; it must be a whole number"):
        settings_of(TRAIN.parse_args(["--steps", "100", "--set", "training.max_steps=many"]))


@pytest.mark.parametrize(
    ("parser", "argv", "advice"),
    [
        (TRAIN, ["--lr", "0.1"], "for --lr use --set training.learning_rate=VALUE"),
        (TRAIN, ["--max-iters=9"], "for --max-iters use --steps"),
        (TRAIN, ["--temp", "1", "--batch-size", "3"], "for --batch-size use --set training.global_batch_size=VALUE"),
        (GENERATE, ["--max-tokens", "3"], "for --max-tokens use --max-new-chars"),
        (GENERATE, ["--lr", "3"], "--help lists the flags"),
    ],
)
def test_an_unknown_flag_suggests_the_intended_one(
    parser: JobParser, argv: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(argv)
    assert ended.value.code == 2
    assert advice in capsys.readouterr().err
