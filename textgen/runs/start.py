"""How a run starts, or goes on: what it is stands in `run.json`, and every start must be of the same run."""

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
    """A run that is about to train, or has trained."""

    run: Run
    manifest: Manifest
    plan: TrainingPlan
    outcome: dict[str, Any] | None
    """What it said when it ended; None where it has not."""
    kept_settings: Mapping[str, Any]
    """Settings that an older version of textgen began the run with and that this one would choose otherwise."""


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
    """Writes down what a run is, or checks it against what was.

    A run that began from a checkpoint is given the same one when it goes on, and does not read it again. What a spec
    leaves to the hardware is decided when the run begins, and the run keeps it on any other.

    Args:
        spec: what determines the run.
        manifest_uri: the windows to train on.
        output: where the run lives, under its name.
        run_name: None derives it from spec, windows and source.
        source: the checkpoint that it begins from.
        acknowledge: says that one person's texts may be used.
        on_gpu: says whether the run will be computed on GPUs; asked where it begins.
        say: receives lines of progress about counts, the run's and those of its source.

    Raises:
        UserError: it is another run than that of the name, it cannot be trained, or it needs an acknowledgement.
    """
    manifest = Manifest.load(manifest_uri)
    run_name = default_run_name(spec, manifest, source=source) if run_name is None else run_name
    check_name(run_name, flag="--run-name")
    run_uri = storage.join(storage.absolute(output), run_name)
    before = stored_run(run_uri)
    lineage = None
    kept_settings: dict[str, Any] = {}
    if before is not None:
        lineage = _same_lineage(before, source, run_uri)
        if source is not None:
            spec = with_model(spec, RunSpec.from_dict(before["spec"]).model, source)
        kept_settings = settings_in_force(spec, before["spec"])
        spec = _as_decided(override(spec, kept_settings), before)
        _check_same(before, spec, manifest, run_uri)
    elif source is not None:
        lineage, checkpoint = lineage_of(source, manifest.vocabulary)
        spec = with_model(spec, checkpoint.spec.model, source)
        if checkpoint.counts is not None and spec.model.counts_order is None:
            say(f"{checkpoint.uri} was trained with counts of its own corpus, which this run leaves out")
    _check_marks(spec, manifest)
    plan = TrainingPlan.of(spec, manifest)
    acknowledged = _acknowledged(before or {}, spec, manifest, acknowledge=acknowledge)
    if spec.training.mixed_precision is None:
        spec = with_precision(spec, on_gpu=on_gpu())
    content = {
        "manifest_uri": manifest.uri,
        "manifest_hash": manifest.hash,
        "from": lineage.to_dict() if lineage is not None else None,
        "acknowledged": acknowledged,
        # With the version that began the run: by it the next start knows which settings are not its own choice either.
        "spec": spec.to_dict() | ({} if before is None else {VERSION_KEY: version_of(before["spec"])}),
    }
    storage.write_bytes(storage.join(run_uri, RUN_NAME), json.dumps(content, ensure_ascii=False, indent=1).encode())
    _, outcome = _kept_outcome(run_uri)
    if outcome is not None and not _is_finished(outcome, spec, num_steps=plan.num_steps):
        outcome = None
    if outcome is None:
        _keep_counts(spec, manifest, run_uri, say=say)
    return Start(
        run=Run(spec=spec, manifest_uri=manifest.uri, run_uri=run_uri, run_name=run_name, lineage=lineage),
        manifest=manifest,
        plan=plan,
        outcome=outcome,
        kept_settings=kept_settings,
    )


def _keep_counts(spec: RunSpec, manifest: Manifest, run_uri: str, *, say: Say) -> None:
    """Makes the counts that a model reads, where it reads any, and keeps a copy with the run."""
    record = CountsRecord.of(manifest, spec.model)
    if record is not None:
        counts_of(manifest, spec.model, say=say)
        keep_copy(record.to_dict(), run_uri)


def settings_in_force(spec: RunSpec, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings by which a stored spec differs from `spec` because an older version wrote it.

    They are the fields that came, or changed their default, since then. Whoever gives the command of that time again
    cannot have meant today's value of such a field, unless it is another one than the preset's.
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
    """Makes sure that a run, where there is one, can go on with a spec and windows.

    Raises:
        UserError: it was begun with others.
    """
    before = stored_run(run_uri)
    if before is not None:
        spec = _as_decided(override(spec, settings_in_force(spec, before["spec"])), before)
        _check_same(before, spec, manifest, run_uri)


def default_run_name(spec: RunSpec, manifest: Manifest, *, source: Source | None = None) -> str:
    """Returns a name that the same spec, windows and source always get."""
    if source is not None:
        return f"{spec.preset}-{manifest.hash[:8]}-from-{hashlib.sha256(source.absolute_uri.encode()).hexdigest()[:8]}"
    widths = spec.classifier.hidden_units if spec.classifier.features == "bag_of_words" else spec.model.widths
    size = f"{widths[0]}x{len(widths)}" if len(set(widths)) == 1 else "-".join(map(str, widths)) or "linear"
    return f"{spec.preset}-{size}-{manifest.hash[:8]}"


def is_single_author(spec: RunSpec, manifest: Manifest) -> bool:
    """Says whether the texts are one person's, as the ingest or this run was told."""
    return spec.corpus.single_author or bool(manifest.corpus.get("single_author"))


def check_acknowledged(spec: RunSpec, manifest: Manifest, *, acknowledge: bool) -> None:
    """Makes sure that whoever trains on one person's texts has said that they may.

    Raises:
        UserError: they have not.
    """
    if is_single_author(spec, manifest) and not acknowledge:
        raise UserError(
            f"the texts of {manifest.uri} are one person's (corpus.single_author); add --acknowledge to say, once for "
            "a run, that this person agreed or the texts are yours to use so, that what the model writes will be shown "
            "as a machine's and never as theirs, and that it will not be used to deceive or to harm them"
        )


def _acknowledged(before: Mapping[str, Any], spec: RunSpec, manifest: Manifest, *, acknowledge: bool) -> bool:
    acknowledge = acknowledge or bool(before.get("acknowledged"))
    check_acknowledged(spec, manifest, acknowledge=acknowledge)
    return acknowledge


def _as_decided(spec: RunSpec, before: Mapping[str, Any]) -> RunSpec:
    """Returns a spec with what was decided for it when its run began, on whatever hardware that was."""
    if spec.training.mixed_precision is not None:
        return spec
    return override(spec, {"training.mixed_precision": before["spec"]["training"].get("mixed_precision", False)})


def _check_marks(spec: RunSpec, manifest: Manifest) -> None:
    """Makes sure that prompts and completions will be marked and unmarked as the windows were."""
    if mark_rules(spec.corpus.rules) != manifest.mark_rules:
        there, here = (", ".join(rules) or "none" for rules in (manifest.mark_rules, mark_rules(spec.corpus.rules)))
        raise UserError(
            f"the texts of {manifest.uri} bear the marks of these rules: {there}; the run's corpus.rules set others: "
            f"{here}; give the preset or the --set corpus.rules that jobs.ingest was given"
        )


def stored_run(run_uri: str) -> dict[str, Any] | None:
    """Returns what `run.json` says of a run since it began; None where it has not."""
    place = storage.join(run_uri, RUN_NAME)
    content = storage.read_if_exists(place)
    return json.loads(content) if content is not None else None


def _same_lineage(before: Mapping[str, Any], source: Source | None, run_uri: str) -> Lineage | None:
    lineage = Lineage(**before["from"]) if before.get("from") else None
    known = lineage and {lineage.given_uri, lineage.uri}
    if source is None and lineage is not None:
        raise UserError(
            f"the run at {run_uri} was begun from {lineage.given_uri}; give --from {lineage.given_uri}, "
            "or another --run-name"
        )
    if source is not None and source.absolute_uri not in (known or ()):
        begun = f"from {lineage.given_uri}" if lineage is not None else "without --from"
        raise UserError(
            f"the run at {run_uri} was begun {begun}, not from {source.absolute_uri}; "
            "give the same command again, or another --run-name"
        )
    return lineage


def _check_same(before: Mapping[str, Any], spec: RunSpec, manifest: Manifest, run_uri: str) -> None:
    if before["manifest_hash"] != manifest.hash:
        raise UserError(
            f"the run at {run_uri} was begun on other windows ({before['manifest_uri']}) than {manifest.uri}; "
            "give those, or another --run-name"
        )
    check_resumable(RunSpec.from_dict(before["spec"]), spec, run_uri=run_uri)


def keep_outcome(run: Run, outcome: Mapping[str, Any]) -> None:
    """Writes down what a run says at its end.

    Raises:
        LeaseLostError: it is another driver's by now.
    """
    lease.check(run.run_uri, run.driver)
    content = json.dumps({**outcome, "driver": run.driver}).encode()
    storage.write_bytes(storage.join(run.run_uri, OUTCOME_NAME), content)


def outcome_of(run: Run, *, num_steps: int) -> dict[str, Any] | None:
    """Returns what a run said at its end, under this driver or where it is finished; None where it has not ended.

    Args:
        run: it.
        num_steps: of the whole training.
    """
    driver, outcome = _kept_outcome(run.run_uri)
    is_valid = outcome is not None and (driver == run.driver or _is_finished(outcome, run.spec, num_steps=num_steps))
    return outcome if is_valid else None


def _kept_outcome(run_uri: str) -> tuple[str | None, dict[str, Any] | None]:
    content = storage.read_if_exists(storage.join(run_uri, OUTCOME_NAME))
    if content is None:
        return None, None
    outcome: dict[str, Any] = json.loads(content)
    return outcome.pop("driver", None), outcome


def _is_finished(outcome: Mapping[str, Any], spec: RunSpec, *, num_steps: int) -> bool:
    """Says whether a run that has ended so need not go on."""
    patience = spec.training.patience
    num_stale = outcome.get("stale_validations", 0)
    stays_stopped = outcome.get("stopped_early") and patience is not None and num_stale >= patience
    return outcome.get("step", 0) >= num_steps or bool(stays_stopped)
