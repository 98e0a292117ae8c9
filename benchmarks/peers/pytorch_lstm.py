"""The same model and step in PyTorch: embedding, LSTM layers, logits at every position, state carried, clip, Adam."""

from __future__ import annotations

import argparse

import torch

from benchmarks.peers.protocol import answer


def main() -> None:
    """Builds the step that the flags describe and runs it as often as requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("units", "layers", "embedding-dim", "rows", "length", "vocab-size", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(arguments.vocab_size, arguments.embedding_dim)
    lstm = torch.nn.LSTM(arguments.embedding_dim, arguments.units, arguments.layers)
    logits = torch.nn.Linear(arguments.units, arguments.vocab_size)
    parameters = [*embedding.parameters(), *lstm.parameters(), *logits.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    inputs, targets = torch.randint(arguments.vocab_size, (2, arguments.length, arguments.rows))
    shape = (arguments.layers, arguments.rows, arguments.units)
    state = torch.zeros(shape), torch.zeros(shape)

    def make() -> float:
        nonlocal state
        outputs, after = lstm(embedding(inputs), state)
        state = after[0].detach(), after[1].detach()
        loss = torch.nn.functional.cross_entropy(logits(outputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return float(targets.numel())

    answer(make)


if __name__ == "__main__":
    main()
