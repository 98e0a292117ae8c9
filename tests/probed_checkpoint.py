"""A language model and labelled documents for tests of probes."""

from __future__ import annotations

from pathlib import Path

from tests.labelled_windows import document
from tests.written_windows import tiny_spec, written_manifest
from textgen.model.checkpoint import Checkpoint
from textgen.windows.manifest import Manifest

NUM_DOCUMENTS = {"train": 120, "val": 33, "test": 41}


def probed_manifest(folder: Path) -> Manifest:
    """Writes 120 / 33 / 41 documents of two labels; three of `train` have none."""
    splits = {split: [f"{document(n)} {n}"[n % 3 :] for n in range(count)] for split, count in NUM_DOCUMENTS.items()}
    labels = {
        split: [None if split == "train" and n in (4, 50, 51) else ("bad", "good")[n % 2] for n in range(count)]
        for split, count in NUM_DOCUMENTS.items()
    }
    return written_manifest(str(folder), splits, documents_per_shard=50, labels=labels)


def probed_checkpoint(folder: Path, manifest: Manifest) -> Checkpoint:
    """Writes an untrained model with layers of 7 and 6 units and weights so large that every unit matters."""
    from textgen.model.language_model import LanguageModel

    spec = tiny_spec(model__layer_units=(7, 6), model__num_layers=2, sampling__temperature=1.0)
    model = LanguageModel(spec.model, vocab_size=manifest.vocabulary.size, seed=4)
    checkpoint = Checkpoint(
        uri=str(folder),
        spec=spec,
        vocabulary=manifest.vocabulary,
        run_name="untrained",
        manifest_uri=manifest.uri,
        manifest_hash=manifest.hash,
        position={"step": 0},
        metrics={},
    )
    return checkpoint.save(weights={name: 3 * weight for name, weight in model.get_weights_by_name().items()})
