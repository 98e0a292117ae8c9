"""Finds the field that an unknown name refers to: names from other tools, and fields without their section."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from textgen.errors import UserError
from textgen.settings import nearest

_NAMES_BY_FIELD = {
    "corpus.text_column": "text_field text_key text_col input_column content_column column",
    "corpus.label_column": "label_field label_key label_col target_column target",
    "corpus.rules": "lowercase lower strip_html preprocess preprocessing clean cleaning",
    "corpus.deduplicate": "dedup dedupe drop_duplicates remove_duplicates",
    "corpus.val_share": "val_fraction val_frac valid_frac val_size val_ratio val_split validation_split dev_size",
    "corpus.test_share": "test_fraction test_frac test_size test_ratio test_split",
    "windows.unit": "level granularity tokenizer char_level word_level",
    "windows.min_count": "min_freq min_frequency min_df min_word_count",
    "windows.max_vocab_size": "vocab_size vocabulary_size max_vocab max_words num_words max_features",
    "windows.context_length": "seq_length seq_len sequence_length max_seq_len max_seq_length max_length maxlen "
    "block_size bptt context context_size context_window n_ctx window window_size timesteps",
    "windows.stride": "step",
    "model.embedding_dim": "embedding embedding_size embed_dim embed_size emb_size n_embd",
    "model.cell": "rnn_type cell_type model_type",
    "model.units": "rnn_size hidden_size hidden_dim n_hidden num_hidden num_units d_model lstm_units lstm_size "
    "state_size width",
    "model.num_layers": "n_layer n_layers layers depth num_hidden_layers num_rnn_layers",
    "model.dropout": "keep_prob dropout_rate dropout_prob",
    "training.order": "shuffle",
    "training.mixed_precision": "fp16 bf16 bfloat16 float16 amp dtype precision autocast",
    "training.global_batch_size": "batch_size batch bs minibatch_size mini_batch_size train_batch_size "
    "per_device_train_batch_size",
    "training.epochs": "epoch num_epochs n_epochs max_epochs nb_epoch num_train_epochs",
    "training.max_steps": "steps num_steps n_steps total_steps train_steps max_iters num_iters iters iterations",
    "training.optimizer": "optim opt",
    "training.learning_rate": "lr base_lr max_lr peak_lr initial_lr init_lr step_size alpha eta",
    "training.final_learning_rate_share": "min_lr lr_min final_lr",
    "training.warmup_steps": "warmup warmup_iters warmup_ratio num_warmup_steps",
    "training.decay": "scheduler schedule lr_scheduler lr_scheduler_type lr_schedule lr_decay decay_rate decay_lr",
    "training.weight_decay": "wd l2",
    "training.clip_norm": "clip grad_clip clipnorm clip_grad gradient_clip gradient_clip_val max_grad_norm",
    "training.seed": "random_seed random_state rng_seed manual_seed",
    "training.validate_every_steps": "eval_interval eval_steps eval_every val_interval validate_every eval_val_every",
    "training.validation_chars": "eval_iters val_steps validation_steps",
    "training.patience": "early_stopping early_stop early_stopping_patience",
    "training.checkpoint_every_steps": "save_every save_steps save_interval save_freq checkpoint_every "
    "checkpoint_interval",
    "training.keep_checkpoints": "save_total_limit max_to_keep",
    "training.sample_chars": "sample_size",
    "sampling.temperature": "temp diversity",
    "sampling.top_k": "topk",
    "sampling.top_p": "topp nucleus nucleus_p",
    "sampling.max_new_chars": "max_tokens max_new_tokens max_completion_tokens new_tokens max_length length "
    "sample_length sample_len gen_length max_gen_length max_gen_len max_chars num_chars n_chars return_length",
    "sampling.stop": "stop_sequences stop_strings stop_words stop_token eos",
    "sampling.n": "num_completions nsamples num_samples n_samples samples num_return_sequences return_samples "
    "completions",
    "sampling.seed": "random_seed random_state rng_seed manual_seed",
}
"""Names of each field in char-rnn, textgenrnn, nanoGPT, Keras, PyTorch, Hugging Face and OpenAI's clients."""


def other_names() -> dict[str, list[str]]:
    """Returns the fields that a name from another tool may refer to, most likely first."""
    names: dict[str, list[str]] = {}
    for path, listed in _NAMES_BY_FIELD.items():
        for name in listed.split():
            names.setdefault(name, []).append(path)
    return names


def meant_by(typed: str, known: Iterable[str]) -> list[str]:
    """Returns the fields among `known` that a name may refer to; empty if it can only be a misspelling.

    If a section was typed, even misspelled, its fields come first.
    """
    section, _, key = typed.strip().lower().replace("-", "_").strip("_").rpartition(".")
    fields = list(known)
    by_name = [path for path in other_names().get(key, []) if path in fields]
    found = list(dict.fromkeys([*by_name, *(path for path in fields if path.endswith(f".{key}"))]))

    def unlikeness(path: str) -> float:
        return -round(difflib.SequenceMatcher(None, section, path.partition(".")[0]).ratio(), 1) if section else 0.0

    return sorted(found, key=unlikeness)


def unknown_setting(typed: str, value: Any, known: Iterable[str]) -> UserError:
    """Returns the error for an unknown setting, with the field that is probably meant, or similar names."""
    fields = list(known)
    meant = meant_by(typed, fields)
    if not meant:
        return UserError(
            f"there is no setting {typed!r}; {nearest(typed, fields)} (python -m jobs.settings lists all settings)"
        )
    listed = " or ".join(meant)
    return UserError(f"there is no setting {typed!r}; did you mean {listed}? Type --set {meant[0]}={value}")
