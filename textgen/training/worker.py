"""The function that Ray Train runs on every worker; imports TensorFlow when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray.train

from textgen import storage
from textgen.errors import UnavailableError, UserError
from textgen.runs.lease import LeaseLostError
from textgen.runs.position import Run
from textgen.runs.preemption import watching_for_preemption
from textgen.runs.recording import RunLog
from textgen.runs.start import keep_outcome, outcome_of
from textgen.runs.stopping import StoppedError
from textgen.training.threads import require_gpu, share_threads


def work(config: Mapping[str, Any]) -> None:
    """Runs on every worker: sets up TensorFlow, joins the other workers, and trains."""
    run = Run.from_dict(config["run"])
    # Stored already: by earlier workers of this driver, whose user error these would repeat, or by a finished run.
    if outcome_of(run, num_steps=config["num_steps"]) is not None:
        return
    share_threads(config["num_threads"], run.spec.training, use_gpu=config["use_gpu"])
    from textgen.training.collective import Alone, Workers
    from textgen.training.loop import train_worker

    collective = Workers() if ray.train.get_context().get_world_size() > 1 else Alone()
    try:
        if config["use_gpu"]:
            require_gpu()
        with storage.disk_full_as_user_error(), watching_for_preemption() as preempted:
            say = RunLog(run.run_uri).say
            outcome = train_worker(run, collective, say=say, report=_report, preempted=preempted)
    except UnavailableError:
        raise  # Ray Train restarts all workers a few times; storage may be available again then.
    except LeaseLostError:  # All workers raise it, and the driver finds it too.
        return
    except UserError as error:
        keep_outcome(run, {"user_error": str(error)})
        if collective.num_workers > 1:  # It ends the others, which may not have met it and would wait for this one.
            raise
        return
    except StoppedError as error:
        outcome = {"stopped_at": error.step}
    if collective.rank == 0:
        keep_outcome(run, outcome)


def _report(metrics: Mapping[str, Any]) -> None:
    ray.train.report(dict(metrics))
