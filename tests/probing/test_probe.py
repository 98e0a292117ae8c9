"""Probes: find labels in the state, select form and weight on `val`, and draw few labels from `train`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from tests.probed_checkpoint import NUM_DOCUMENTS, probed_checkpoint, probed_manifest
from tests.written_windows import written_manifest
from textgen.model.checkpoint import Checkpoint
from textgen.spec import override
from textgen.windows.manifest import Manifest
from textgen.windows.shards import iter_documents
from textgen.windows.vocabulary import Vocabulary

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return probed_manifest(tmp_path_factory.mktemp("windows"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, manifest: Manifest) -> Checkpoint:
    return probed_checkpoint(tmp_path_factory.mktemp("checkpoint"), manifest)


def made_features(split: str, *, count: int | None = None) -> Any:
    """Returns features in which the mean of cell 4 of layer 1 and entry 5 reveal the label."""
    from textgen.probing.features import DocumentFeatures

    positive = made_labels(split)
    size = len(positive)
    generator = np.random.default_rng(size)
    last = generator.normal(size=(size, 26)).astype(np.float32)
    mean = generator.normal(size=(size, 26)).astype(np.float32)
    mean[:, 7 + 4] += np.where(positive, -4, 0)
    counts = generator.poisson(1, size=(size, 40)).astype(np.float32)
    counts[:, 5] += 6 * positive
    return DocumentFeatures(last=last[:count], mean=mean[:count], counts=scipy.sparse.csr_array(counts[:count]))


def made_labels(split: str) -> Any:
    return np.random.default_rng(1000 + NUM_DOCUMENTS[split]).random(NUM_DOCUMENTS[split]) < 0.5


def test_forms_are_fitted_on_train_alone_and_without_labels() -> None:
    from textgen.probing.document_forms import state_forms

    features = {split: made_features(split) for split in NUM_DOCUMENTS}
    forms = state_forms(features, np.array([7, 8, 25]))
    assert forms["test"]["cell_state"].matrix.shape == (41, 3)
    np.testing.assert_allclose(forms["train"]["pooled"].matrix.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(forms["val"]["latent"].matrix, axis=1), 1, atol=1e-5)
    other = {**features, "test": made_features("val"), "val": made_features("val", count=3)}
    again = state_forms(other, np.array([7, 8, 25]))
    for name in ("pooled", "latent"):
        np.testing.assert_array_equal(again["train"][name].matrix, forms["train"][name].matrix)
        np.testing.assert_allclose(again["val"][name].matrix, forms["val"][name].matrix[:3], atol=1e-6)


def test_the_informative_form_is_selected_and_combined_with_tfidf(monkeypatch: pytest.MonkeyPatch) -> None:
    from textgen.probing import probe
    from textgen.probing.document_forms import state_forms
    from textgen.probing.probe import label_efficiency, probe_all_labels
    from textgen.probing.regression import Form

    features = {split: made_features(split) for split in NUM_DOCUMENTS}
    positive = {split: made_labels(split) for split in features}
    forms = state_forms(features, np.array([7, 8, 25]))
    for split, own in forms.items():
        noise = np.random.default_rng(7).normal(size=(NUM_DOCUMENTS[split], 6))
        own["tfidf"] = Form(name="tfidf", matrix=noise, penalty="l2")
    said: list[str] = []
    figures, regressions = probe_all_labels(forms, positive, say=said.append)
    assert set(regressions) == {"cell_state", "cell_means", "pooled", "word_states", "latent", "tfidf"}
    assert figures["pooled"]["accuracy"] > 0.9
    assert figures["word_states"]["accuracy"] > 0.9
    assert figures["cell_state"]["accuracy"] < 0.75
    assert figures["language_model"]["val_loss"] == min(
        one["val_loss"] for name, one in figures.items() if name not in ("combined", "tfidf")
    )
    assert figures["combined"]["language_model_share"] > 0.5
    assert figures["combined"]["accuracy"] > 0.9
    assert len(said) == 7

    monkeypatch.setattr(probe, "SEEDS_BY_LABELS", {100: 3})
    (few,) = label_efficiency(forms, positive, say=said.append)
    assert (few["labels"], few["draws"]) == (100, 3)
    assert few["language_model"]["accuracy"] > 0.8 > few["tfidf"]["accuracy"] + 0.1
    assert 0 <= few["language_model"]["spread"] < 0.1
    rare = {split: own & (np.cumsum(own) <= 49) for split, own in positive.items()}  # 49 is less than half of 100.
    assert label_efficiency(forms, rare, say=said.append) == []


def test_the_informative_unit_is_found_with_layer_and_pooling(checkpoint: Checkpoint) -> None:
    from textgen.probing.state_reader import StateReader
    from textgen.probing.unit_effects import Cells, cell_places, held_units, label_unit, unit_figures

    places, names = cell_places(checkpoint.spec.model, width=26)
    assert (places[5:9].tolist(), names[5:9]) == ([12, 13, 20, 21], [(1, 5), (1, 6), (2, 0), (2, 1)])
    reader = StateReader(checkpoint.build_model(), checkpoint.vocabulary)
    cells = Cells.of(reader, checkpoint.spec.model, ["a film"] * 120)
    ends = np.array([reader.trace("a film")[place] for place in (0, 5)])  # All texts consist of the same two words.
    np.testing.assert_allclose(cells.mean, ends.mean(axis=0)[places], atol=1e-5)
    np.testing.assert_allclose(cells.spread, ends.std(axis=0)[places], atol=1e-5)
    found = label_unit(made_features("train"), made_labels("train"), cells)
    assert (cells.names[found.number], found.pooling, found.found.above) == ((1, 4), "mean", False)
    assert unit_figures(found, cells, made_features("test"), made_labels("test"))["accuracy"] > 0.9

    weights = np.zeros(13)
    weights[[2, 9]] = 0.5, -2.0
    held = held_units(found, cells, weights)
    # Positive documents are below the threshold, so positive text holds the unit low.
    assert held["unit"]["positive"][0].value < cells.mean[4] < held["unit"]["negative"][0].value
    assert [(one.layer, one.unit) for one in held["units"]["positive"]] == [(2, 2), (1, 2)]
    assert held["units"]["positive"][0].value == pytest.approx(cells.mean[9] - cells.spread[9], abs=0.01)
    assert held["units"]["negative"][1].value == pytest.approx(cells.mean[2] - cells.spread[2], abs=0.01)


def test_labels_are_selected_and_missing_ones_explained(manifest: Manifest, tmp_path: Path) -> None:
    from textgen.probing.labelled import labelled_documents

    def chosen(manifest: Manifest, **settings: Any) -> Any:
        settings = {"category": None, "given_labels": None, "max_documents": None} | settings
        return labelled_documents(manifest, **settings)

    labels, documents = chosen(manifest)
    assert labels == ("bad", "good")
    assert {split: len(own) for split, own in documents.items()} == {"train": 117, "val": 33, "test": 41}
    for split, own in documents.items():
        written = {one.document_id: one for one in iter_documents(manifest, split)}
        assert [written[key].text for key in own.document_ids] == own.texts
        assert [written[key].label == "good" for key in own.document_ids] == own.positive.tolist()
    labels, turned = chosen(manifest, given_labels=["good", "bad"])
    assert labels == ("good", "bad")
    assert turned["test"].positive.tolist() == (~documents["test"].positive).tolist()
    with pytest.raises(ValueError, match="labelled bad, good, not bad, fine"):
        chosen(manifest, given_labels=["bad", "fine"])
    with pytest.raises(ValueError, match="labelled not at all"):
        chosen(manifest, category="b")

    _, some = chosen(manifest, max_documents=35)
    assert {split: len(own) for split, own in some.items()} == {"train": 35, "val": 33, "test": 35}
    places = [documents["train"].document_ids.index(key) for key in some["train"].document_ids]
    assert places == [number * 117 // 35 for number in range(35)]
    with pytest.raises(ValueError, match=r"train of .* 4 documents labelled bad and 2 labelled good.*--max-documents"):
        chosen(manifest, max_documents=6)

    splits = {split: [f"a {n} film" for n in range(24)] for split in NUM_DOCUMENTS}
    one_sided = {split: ["bad"] * 24 if split == "val" else ["bad", "good"] * 12 for split in splits}
    without = written_manifest(str(tmp_path), splits, documents_per_shard=50, labels=one_sided)
    with pytest.raises(ValueError, match=r"val of .* 24 documents labelled bad and 0 labelled good"):
        chosen(without)


def test_a_checkpoint_is_probed_and_steered(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from textgen.probing import probe, unit_effects

    monkeypatch.setattr(probe, "SEEDS_BY_LABELS", {30: 2, 1000: 3})
    monkeypatch.setattr(unit_effects, "STEERED_CHARS", 40)
    result = probe.probe(
        checkpoint.uri,
        windows_uri=None,
        output=str(tmp_path),
        category=None,
        given_labels=None,
        max_documents=None,
        num_completions=5,
        say=lambda _: None,
    )
    assert result["labels"] == ["bad", "good"]
    assert result["documents"] == {"train": 117, "val": 33, "test": 41}
    assert result["probes"]["tfidf"]["accuracy"] > 0.9  # Words reveal the label.
    assert [row["labels"] for row in result["label_efficiency"]] == [30]  # There are fewer than 1,000.
    steering = result["steering"]
    assert steering["free"]["held"] == ""
    assert steering["unit"]["positive"]["held"] == f"--unit {result['hold']['unit']['positive'][0]}"
    texts = {steering["unit"][side]["completion"] for side in ("negative", "positive")}
    assert len(texts | {steering["free"]["completion"]}) == 3
    assert 0 <= steering["units"]["negative"]["positive_share"] <= 1
    assert (tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG")
    details = json.loads((tmp_path / "probe.json").read_text())
    assert {name: details[name] for name in result} == json.loads(json.dumps(result))
    for trace, title in zip(details["traces"], ("label good", "label bad"), strict=True):
        assert trace["title"].startswith(title)
        assert len(trace["values"]) == len(trace["text"])


def test_models_without_a_carried_state_are_refused(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from textgen.probing import probe

    def refused(wrong: Checkpoint) -> str:
        monkeypatch.setattr(probe, "find_checkpoint", lambda _: wrong)
        with pytest.raises(ValueError, match=r"name a language model|probe on the windows") as caught:
            probe.probe(
                wrong.uri,
                windows_uri=None,
                output=str(tmp_path),
                category=None,
                given_labels=None,
                max_documents=None,
                num_completions=0,
                say=lambda _: None,
            )
        return str(caught.value)

    last = override(checkpoint.spec, {"training.order": "shuffled", "training.loss_at": "last"})
    assert "carries no state" in refused(dataclasses.replace(checkpoint, spec=last))
    other = Vocabulary(unit="characters", symbols=(97, 98))
    assert "vocabulary of 4 ids" in refused(dataclasses.replace(checkpoint, vocabulary=other))
