"""The loop of the published tweets recipe: one-hot windows of 40, two LSTMs of 128, `fit` on the last character."""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.peers.protocol import answer

LENGTH, VOCAB_SIZE, BATCH_SIZE = 40, 130, 128
BATCHES_PER_FIT = 8


def main() -> None:
    """Builds the model and fits it as often as requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    import keras

    model = keras.Sequential(
        [
            keras.Input((LENGTH, VOCAB_SIZE)),
            keras.layers.LSTM(128, return_sequences=True),
            keras.layers.Dropout(0.2),
            keras.layers.LSTM(128),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(VOCAB_SIZE, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(0.01))
    ids = np.random.default_rng(0).integers(0, VOCAB_SIZE, (BATCHES_PER_FIT * BATCH_SIZE, LENGTH + 1))
    one_hot = np.eye(VOCAB_SIZE, dtype=bool)[ids]

    def make() -> float:
        model.fit(one_hot[:, :-1], one_hot[:, -1], batch_size=BATCH_SIZE, epochs=1, verbose=0)
        return float(len(ids))

    answer(make)


if __name__ == "__main__":
    main()
