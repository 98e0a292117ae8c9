"""Starts or resumes a run: `run.json` stores what the run is, and every start must be of the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from textgen import presets, storage
from textgen.corpus.marks import mark_rules
from textgen.counts.store import CountsRecord, counts_of, keep_copy
from textgen.errors import UserError
from textgen.outputs import check_name
from textgen.progress import Say, silent
from textgen.runs import lease
from textgen.runs.lineage import Lineage, Source, lineage_of, with_model
from textgen.runs.plan import TrainingPlan, check_resumable
from textgen.runs.position import Run
from textgen.runs.precision import with_precision
from textgen.spec import RunSpec, override
from textgen.spec.versions import VERSION_KEY, changed_since, version_of
from textgen.windows.manifest import Manifest

RUN_NAME = "run.json"
OUTCOME_NAME = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Start:
    """A run that is about to train, or is finished."""

    run: Run
    manifest: Manifest
    plan: TrainingPlan
    outcome: dict[str, Any] | None
    """The outcome of a finished run; None if it is not finished."""
    kept_settings: Mapping[str, Any]
    """Settings that the run keeps from the older version of textgen that started it, where defaults changed since."""


def start_run(
    spec: RunSpec,
    *,
    manifest_uri: str,
    output: str,
    run_name: str | None = None,
    source: Source | None = None,
    acknowledge: bool = False,
    on_gpu: Callable[[], bool] = lambda: False,
    say: Say = silent,
) -> Start:
    """Records what a run is, or checks it against the record of an earlier start.

    A run that started from a checkpoint must name the same one when it resumes, but does not read it again. Settings
    that a spec leaves to the hardware are decided when the run starts, and are kept on any other hardware.

    Args:
        spec: what determines the run.
        manifest_uri: the windows to train on.
        output: folder or prefix of runs; this one is stored under its name.
        run_name: None derives it from spec, windows and source.
        source: the checkpoint that it starts from.
        acknowledge: confirms that one person's texts may be used.
        on_gpu: returns whether the run trains on GPUs; called for a new run.
        say: receives lines of progress about counts: the run's, and those of its source.

    Raises:
        UserError: another run has this name, this one cannot be trained, or it needs an acknowledgement.
    """
    manifest = Manifest.load(manifest_uri)
    run_name = default_run_name(spec, manifest, source=source) if run_name is None else run_name
    check_name(run_name, flag="--run-name")
    run_uri = storage.join(storage.absolute(output), run_name)
    before = stored_run(run_uri)
    if before is not None:
        spec, lineage, kept_settings = _resumed(before, spec, manifest, source=source, run_uri=run_uri)
    else:
        spec, lineage, kept_settings = *_started(spec, manifest, source, say=say), {}
    _check_marks(spec, manifest)
    plan = TrainingPlan.of(spec, manifest)
    acknowledge = acknowledge or bool((before or {}).get("acknowledged"))
    check_acknowledged(spec, manifest, acknowledge=acknowledge)
    spec = spec if spec.training.mixed_precision is not None else with_precision(spec, on_gpu=on_gpu())
    run = Run(spec=spec, manifest_uri=manifest.uri, run_uri=run_uri, run_name=run_name, lineage=lineage)
    _write_run(run, manifest, before, acknowledged=acknowledge)
    _, outcome = _stored_outcome(run_uri)
    if outcome is None or not _is_finished(outcome, spec, num_steps=plan.num_steps):
        outcome = None
        _keep_counts(spec, manifest, run_uri, say=say)
    return Start(run=run, manifest=manifest, plan=plan, outcome=outcome, kept_settings=kept_settings)


def _started(spec: RunSpec, manifest: Manifest, source: Source | None, *, say: Say) -> tuple[RunSpec, Lineage | None]:
    """Returns the spec and the lineage of a new run."""
    if source is None:
        return spec, None
    lineage, checkpoint = lineage_of(source, manifest.vocabulary)
    spec = with_model(spec, checkpoint.spec.model, source)
    if checkpoint.counts is not None and spec.model.counts_order is None:
        say(f"{checkpoint.uri} was trained with the counts of its own corpus; this run does not use them")
    return spec, lineage


def _resumed(
    before: Mapping[str, Any], spec: RunSpec, manifest: Manifest, *, source: Source | None, run_uri: str
) -> tuple[RunSpec, Lineage | None, dict[str, Any]]:
    """Returns the spec of a run that resumes, its lineage, and the settings that it keeps from an older version."""
    lineage = _same_lineage(before, source, run_uri)
    if source is not None:
        spec = with_model(spec, RunSpec.from_dict(before["spec"]).model, source)
    kept_settings = settings_in_force(spec, before["spec"])
    spec = _as_decided(override(spec, kept_settings), before)
    _check_same(before, spec, manifest, run_uri)
    return spec, lineage, kept_settings


def _write_run(run: Run, manifest: Manifest, before: Mapping[str, Any] | None, *, acknowledged: bool) -> None:
    content = {
        "manifest_uri": manifest.uri,
        "manifest_hash": manifest.hash,
        "from": run.lineage.to_dict() if run.lineage is not None else None,
        "acknowledged": acknowledged,
        # The version that started the run is kept: it tells the next start which settings were not chosen by the user.
        "spec": run.spec.to_dict() | ({} if before is None else {VERSION_KEY: version_of(before["spec"])}),
    }
    content_bytes = json.dumps(content, ensure_ascii=False, indent=1).encode()
    storage.write_bytes(storage.join(run.run_uri, RUN_NAME), content_bytes)


def _keep_counts(spec: RunSpec, manifest: Manifest, run_uri: str, *, say: Say) -> None:
    """Builds the counts of a model that has any, and keeps a copy with the run."""
    record = CountsRecord.of(manifest, spec.model)
    if record is not None:
        counts_of(manifest, spec.model, say=say)
        keep_copy(record.to_dict(), run_uri)


def settings_in_force(spec: RunSpec, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings by which a stored spec differs from `spec` because an older version wrote it.

    These are the fields that were added, or whose default changed, since then. A user who repeats a command from that
    time cannot have meant today's value of such a field, unless it differs from the preset's.
    """
    older = RunSpec.from_dict(stored)
    default = presets.preset(spec.preset) if spec.preset in presets.PRESET_NAMES else RunSpec(preset=spec.preset)
    found = {}
    for path in changed_since(version_of(stored)):
        section, name = path.split(".")
        then, now, chosen = (getattr(getattr(one, section), name) for one in (older, spec, default))
        if then != now == chosen:
            found[path] = then
    return found


def check_resumes(run_uri: str, spec: RunSpec, manifest: Manifest) -> None:
    """Checks that a run, if it exists, can resume with a spec and windows.

    Raises:
        UserError: it was started with others.
    """
    before = stored_run(run_uri)
    if before is not None:
        spec = _as_decided(override(spec, settings_in_force(spec, before["spec"])), before)
        _check_same(before, spec, manifest, run_uri)


def default_run_name(spec: RunSpec, manifest: Manifest, *, source: Source | None = None) -> str:
    """Returns a name that is always the same for the same spec, windows and source."""
    if source is not None:
        return f"{spec.preset}-{manifest.hash[:8]}-from-{hashlib.sha256(source.absolute_uri.encode()).hexdigest()[:8]}"
    widths = spec.classifier.hidden_units if spec.classifier.features == "bag_of_words" else spec.model.widths
    size = f"{widths[0]}x{len(widths)}" if len(set(widths)) == 1 else "-".join(map(str, widths)) or "linear"
    return f"{spec.preset}-{size}-{manifest.hash[:8]}"


def is_single_author(spec: RunSpec, manifest: Manifest) -> bool:
    """Returns whether the texts are one person's, as declared for the ingest or for this run."""
    return spec.corpus.single_author or bool(manifest.corpus.get("single_author"))


def check_acknowledged(spec: RunSpec, manifest: Manifest, *, acknowledge: bool) -> None:
    """Checks that the use of one person's texts was acknowledged.

    Raises:
        UserError: it was not.
    """
    if is_single_author(spec, manifest) and not acknowledge:
        raise UserError(
            f"the texts of {manifest.uri} are one person's (corpus.single_author); add --acknowledge, once per run, to "
            "confirm that this person agreed or that you have the right to use the texts in this way, that the model's "
            "output will be labelled as machine-generated and never presented as theirs, and that it will not be used "
            "to deceive or harm them"
        )


def _as_decided(spec: RunSpec, before: Mapping[str, Any]) -> RunSpec:
    """Returns a spec with the precision that was decided when its run started, on whatever hardware that was."""
    if spec.training.mixed_precision is not None:
        return spec
    return override(spec, {"training.mixed_precision": before["spec"]["training"].get("mixed_precision", False)})


def _check_marks(spec: RunSpec, manifest: Manifest) -> None:
    """Checks that prompts and completions will be marked and unmarked in the same way as the windows."""
    if mark_rules(spec.corpus.rules) != manifest.mark_rules:
        there, here = (", ".join(rules) or "none" for rules in (manifest.mark_rules, mark_rules(spec.corpus.rules)))
        raise UserError(
            f"the texts of {manifest.uri} are marked by these rules: {there}; the run's corpus.rules set others: "
            f"{here}; give the same preset or --set corpus.rules as to jobs.ingest"
        )


def stored_run(run_uri: str) -> dict[str, Any] | None:
    """Returns the contents of a run's `run.json`; None if the run has not started."""
    place = storage.join(run_uri, RUN_NAME)
    content = storage.read_if_exists(place)
    return json.loads(content) if content is not None else None


def _same_lineage(before: Mapping[str, Any], source: Source | None, run_uri: str) -> Lineage | None:
    lineage = Lineage(**before["from"]) if before.get("from") else None
    known = lineage and {lineage.given_uri, lineage.uri}
    if source is None and lineage is not None:
        raise UserError(
            f"the run at {run_uri} was started from {lineage.given_uri}; give --from {lineage.given_uri}, "
            "or another --run-name"
        )
    if source is not None and source.absolute_uri not in (known or ()):
        origin = f"from {lineage.given_uri}" if lineage is not None else "without --from"
        raise UserError(
            f"the run at {run_uri} was started {origin}, not from {source.absolute_uri}; "
            "repeat its command, or give another --run-name"
        )
    return lineage


def _check_same(before: Mapping[str, Any], spec: RunSpec, manifest: Manifest, run_uri: str) -> None:
    if before["manifest_hash"] != manifest.hash:
        raise UserError(
            f"the run at {run_uri} was started on other windows ({before['manifest_uri']}) than {manifest.uri}; "
            "give those, or another --run-name"
        )
    check_resumable(RunSpec.from_dict(before["spec"]), spec, run_uri=run_uri)


def keep_outcome(run: Run, outcome: Mapping[str, Any]) -> None:
    """Stores the outcome of a run.

    Raises:
        LeaseLostError: another driver holds the run's lease.
    """
    lease.check(run.run_uri, run.driver)
    content = json.dumps({**outcome, "driver": run.driver}).encode()
    storage.write_bytes(storage.join(run.run_uri, OUTCOME_NAME), content)


def outcome_of(run: Run, *, num_steps: int) -> dict[str, Any] | None:
    """Returns the outcome of a run if this driver stored it or it ends the run; otherwise None.

    Args:
        run: the run.
        num_steps: of the whole training.
    """
    driver, outcome = _stored_outcome(run.run_uri)
    is_valid = outcome is not None and (driver == run.driver or _is_finished(outcome, run.spec, num_steps=num_steps))
    return outcome if is_valid else None


def _stored_outcome(run_uri: str) -> tuple[str | None, dict[str, Any] | None]:
    content = storage.read_if_exists(storage.join(run_uri, OUTCOME_NAME))
    if content is None:
        return None, None
    outcome: dict[str, Any] = json.loads(content)
    return outcome.pop("driver", None), outcome


def _is_finished(outcome: Mapping[str, Any], spec: RunSpec, *, num_steps: int) -> bool:
    """Returns whether a run with this outcome needs no further training."""
    patience = spec.training.patience
    num_stale = outcome.get("stale_validations", 0)
    stays_stopped = outcome.get("stopped_early") and patience is not None and num_stale >= patience
    return outcome.get("step", 0) >= num_steps or bool(stays_stopped)
