"""Prompts -> completions, as lines of JSON: what a worker of `jobs.generate` does with the rows of a shard."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textgen.batch.outputs import Lines, Output, Total, beside, prepare_tensorflow
from textgen.batch.rows import Row, Values
from textgen.corpus.codec import TextCodec
from textgen.errors import UserError
from textgen.generation.completions import Prompt, engine_of, requests_of
from textgen.generation.stream import Completion, Request, Stream
from textgen.model.checkpoint import Checkpoint
from textgen.settings import field_types
from textgen.spec import SamplingSpec

if TYPE_CHECKING:
    from textgen.generation.engine import Engine

FIELDS = frozenset(field_types(SamplingSpec))
TEXT_FIELDS = ("prompt", "text")
"""Where a row's prompt stands: the first of these that it has."""
KNOWN_SETTINGS = 1000
"""Different settings of rows that are kept, so that those of most rows are checked once."""
OWN_FIELDS = frozenset(field.name for field in dataclasses.fields(Completion))


class Generation:
    """Completes the prompts of rows with one engine."""

    outputs_name = "completions"
    done = "completed"

    def __init__(self, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
        """Takes a checkpoint, whose weights are read when the first prompt is completed.

        Args:
            checkpoint: Of a language model.
            settings: As `settings_of` gives them.

        Raises:
            UserError: the checkpoint is a classifier's.
        """
        if checkpoint.classes:
            raise UserError(f"{checkpoint.uri} is a classifier; give it to jobs.classify, or name a language model")
        self._checkpoint = checkpoint
        self._settings = settings
        self._sampling = SamplingSpec(**{**settings["sampling"], "stop": tuple(settings["sampling"]["stop"])})
        self._num_outputs: dict[str, int] = {}
        """By sampling settings and condition of a row, of those that were checked."""
        self._codec = TextCodec.of(checkpoint.spec.corpus)

    @staticmethod
    def settings_of(
        sampling: SamplingSpec, *, condition: Mapping[str, Any], guidance: float, units: Sequence[str]
    ) -> dict[str, Any]:
        """Returns what decides about completions beside a checkpoint and prompts; JSON-ready."""
        return {
            "sampling": {**dataclasses.asdict(sampling), "stop": list(sampling.stop)},
            "condition": dict(condition),
            "guidance": guidance,
            "units": list(units),
        }

    @functools.cached_property
    def _engine(self) -> Engine:
        prepare_tensorflow()
        from textgen.generation.steering import parse_held_unit

        held = [parse_held_unit(text) for text in self._settings["units"]]
        return engine_of(self._checkpoint, held=held, guidance=self._settings["guidance"])

    def num_outputs(self, values: Values) -> int:
        """Returns how many completions a row asks for.

        Raises:
            UserError: the row has no prompt, or the model cannot read it.
        """
        prompt, vocabulary = self._prompt(values), self._checkpoint.vocabulary
        settings = json.dumps([prompt.changes, prompt.condition], default=str)
        if settings in self._num_outputs and vocabulary.unknown_id is not None:  # Then any text can be read.
            Request(prompt=prompt.text, settings=self._sampling)
            return self._num_outputs[settings]
        requests = self._requests(prompt)
        Stream(requests[0], vocabulary, codec=self._codec)
        if len(self._num_outputs) >= KNOWN_SETTINGS:
            self._num_outputs.clear()
        self._num_outputs[settings] = len(requests)
        return len(requests)

    def outputs(self, rows: Sequence[Row]) -> Iterator[list[Output]]:
        """Yields the completions of rows as they are finished, in no order: (place among all, line)."""
        owners = [(row, request) for row in rows for request in self._requests(self._prompt(row.values))]
        streams = self._engine.prepare([request for _, request in owners])
        finished: list[int] = []
        futures = [self._engine.enqueue(stream) for stream in streams]
        for place, future in enumerate(futures):
            future.add_done_callback(functools.partial(_note, finished, place))
        while self._engine.run_once():
            yield [(place, self._line(owners[place][0], futures[place].result())) for place in finished]
            finished.clear()

    @staticmethod
    def amounts(lines: Lines) -> dict[str, int]:
        """Returns the characters of completions."""
        return {"characters": sum(len(line["completion"]) for line in lines)}

    @staticmethod
    def figures(total: Total, *, added: Total, seconds: float) -> dict[str, Any]:
        """Returns what a job's result says of all completions, and of those that it added."""
        return {
            "prompts": total.num_rows,
            "completions": total.num_outputs,
            "characters": total.amounts.get("characters", 0),
            "characters_per_second": round(added.amounts.get("characters", 0) / seconds, 1),
        }

    def _line(self, row: Row, completion: Completion) -> dict[str, Any]:
        others = {name: value for name, value in row.values.items() if name not in FIELDS and name != "condition"}
        others.pop(_text_field(row.values), None)
        return {**beside(row, others, own=OWN_FIELDS), **completion_row(completion)}

    def _requests(self, prompt: Prompt) -> list[Request]:
        return requests_of([prompt], self._sampling, condition=self._settings["condition"])

    @staticmethod
    def _prompt(values: Values) -> Prompt:
        text, condition = values.get(_text_field(values)), values.get("condition", {})
        if not isinstance(text, str):
            raise UserError('it has no prompt; a row has the form {"prompt": "a text"}, or "text" in its place')
        if not isinstance(condition, Mapping):
            raise UserError(f'its condition is {json.dumps(condition)}; the form is {{"condition": {{"label": 5}}}}')
        changes = {name: value for name, value in values.items() if name in FIELDS}
        if isinstance(changes.get("stop"), str):  # One text as it is, not a list as a command line writes it.
            changes["stop"] = [changes["stop"]]
        return Prompt(text=text, changes=changes, condition=condition)


def completion_row(completion: Completion) -> dict[str, Any]:
    """Returns a completion as its JSON line; `condition` and `unknown_characters` only where there are some."""
    row = dataclasses.asdict(completion)
    return {name: value for name, value in row.items() if value or name not in ("condition", "unknown_characters")}


def _text_field(values: Values) -> str:
    return next((name for name in TEXT_FIELDS if name in values), TEXT_FIELDS[0])


def _note(finished: list[int], place: int, _: object) -> None:
    finished.append(place)
