from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from textgen.corpus.codec import TextCodec
from textgen.generation.stream import Completion, PreparedPrompt, Request
from textgen.spec import ModelSpec, SamplingSpec
from textgen.windows.conditions import Condition
from textgen.windows.vocabulary import Vocabulary

pytestmark = pytest.mark.tensorflow

ENDING = Vocabulary(unit="characters", symbols=tuple(map(ord, "abc")))
"""Ids: 0 UNKNOWN, 1 END, 2 a, 3 b, 4 c."""
ENDLESS = Vocabulary(unit="characters", symbols=tuple(range(32, 127)), separator=" ")


def markov_engine(probabilities: Any, **options: Any) -> Any:
    """Returns an engine over ENDING with the probability of each next id (column) after each id (row)."""
    from tests.hand_models import MarkovModel
    from textgen.generation.engine import Engine

    return Engine(MarkovModel(probabilities), ENDING, **options)


def clock_engine(cycle: str, **options: Any) -> Any:
    """Returns an engine whose model goes through `cycle` by the number of ids read; `.` is END."""
    from tests.hand_models import ClockModel
    from textgen.generation.engine import Engine

    ids = [1 if character == "." else int(ENDING.encode(character)[0]) for character in cycle]
    return Engine(ClockModel(ids, vocab_size=ENDING.size), ENDING, **options)


@pytest.fixture(scope="module")
def language_engine() -> Any:
    """Returns an engine with a small, untrained language model: its text is noise, and shows every changed bit."""
    from textgen.generation.engine import Engine
    from textgen.model.language_model import LanguageModel

    model = LanguageModel(ModelSpec(embedding_dim=11, units=37, num_layers=2), vocab_size=ENDLESS.size, seed=5)
    for variable in model.variables_by_name().values():
        variable.assign(3 * variable)  # Further from a uniform distribution, so that a changed bit shows sooner.
    return Engine(model, ENDLESS)


def test_a_completion_is_the_same_at_batch_sizes_1_3_and_64(language_engine: Any) -> None:
    settings = SamplingSpec(temperature=1.0, max_new_chars=2000, seed=9)
    wanted = Request(prompt="The film was", settings=settings, index=1)
    others = [Request(prompt="x" * count, settings=settings, index=count) for count in range(64)]
    alone = language_engine.generate([wanted])[0]
    assert len(alone.completion) == 2000
    assert len(set(alone.completion)) > 20
    assert language_engine.generate([others[0], wanted, others[2]])[1] == alone
    assert language_engine.generate([*others[:40], wanted, *others[41:]])[40] == alone


def test_neighbours_that_filter_join_and_leave_change_nothing(language_engine: Any) -> None:
    settings = SamplingSpec(temperature=1.0, max_new_chars=300, seed=2)
    wanted = Request(prompt="so", settings=settings)
    alone = language_engine.generate([wanted])[0]
    filtering = SamplingSpec(temperature=0.5, top_k=4, top_p=0.9, max_new_chars=70, seed=3)
    early = [queued(language_engine, Request(prompt="ab", settings=filtering, index=index)) for index in range(5)]
    language_engine.run_once()
    joined = queued(language_engine, wanted)
    late: list[Future[Completion]] = []
    while not joined.done():
        language_engine.run_once()
        late.append(queued(language_engine, Request(prompt="", settings=filtering, index=len(late))))
    assert joined.result() == alone
    while language_engine.run_once():
        pass
    assert all(future.done() for future in [*early, *late])


def test_other_seeds_indices_prompts_and_temperatures_give_other_text(language_engine: Any) -> None:
    requests = [
        Request(prompt=prompt, settings=SamplingSpec(seed=seed, temperature=temperature, max_new_chars=50), index=index)
        for prompt in ("a", "b")
        for seed in (1, 2)
        for temperature in (0.5, 1.0)
        for index in (0, 1)
    ]
    assert len({completion.completion for completion in language_engine.generate(requests)}) == 16


def test_greedy_text_is_that_of_the_models_own_probabilities(language_engine: Any) -> None:
    """Greedy text is the same when the model reads everything again for every character."""
    model = language_engine._loop._model
    completion = language_engine.generate(
        [Request(prompt="Once", settings=SamplingSpec(temperature=0.0, max_new_chars=40))]
    )[0].completion
    ids = [ENDLESS.start_id, *ENDLESS.encode("Once" + completion).tolist()]
    logits, _ = model(np.array([ids]), model.initial_state(1))
    assert ENDLESS.decode(logits.numpy()[0].argmax(axis=1)[4:-1]) == completion


@pytest.fixture(scope="module")
def sliding_engine() -> Any:
    """Returns an engine with an untrained model that looks back over 5 ids."""
    from textgen.generation.engine import Engine
    from textgen.model.language_model import LanguageModel
    from textgen.model.sliding import SlidingModel

    spec = ModelSpec(input="one_hot", cell="gru", num_layers=2, layer_units=(19, 13))
    model = LanguageModel(spec, vocab_size=ENDLESS.size, seed=5)
    for variable in model.variables_by_name().values():
        variable.assign(3 * variable)
    return Engine(SlidingModel(model, context_length=5), ENDLESS)


def test_a_sliding_engine_equals_reading_the_last_ids_anew(sliding_engine: Any) -> None:
    import tensorflow as tf

    model = sliding_engine._loop._model._model

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)])
    def likeliest(window: Any) -> Any:
        return tf.argmax(model(window, model.initial_state(1))[0][0, -1])

    settings = SamplingSpec(temperature=0.0, max_new_chars=40)
    requests = [Request(prompt=prompt, settings=settings) for prompt in ("", "On", "Once upon a")]
    for request, made in zip(requests, sliding_engine.generate(requests), strict=True):
        ids = [ENDLESS.start_id, *ENDLESS.encode(request.prompt + made.completion).tolist()]
        for place in range(len(request.prompt) + 1, len(ids)):
            assert likeliest(tf.constant([ids[max(0, place - 5) : place]])) == ids[place]


def test_a_sliding_engine_completes_a_prompt_alike_beside_others(sliding_engine: Any) -> None:
    settings = SamplingSpec(temperature=1.0, max_new_chars=200, seed=9)
    wanted = Request(prompt="The film was", settings=settings, index=1)
    others = [Request(prompt="x" * count, settings=settings, index=count) for count in range(9)]
    alone = sliding_engine.generate([wanted])[0]
    assert len(set(alone.completion)) > 20
    assert sliding_engine.generate([others[0], wanted, others[2]])[1] == alone
    assert sliding_engine.generate([*others[:6], wanted, *others[7:]])[6] == alone


def test_text_follows_the_models_distribution() -> None:
    after = np.array([0.0, 0.1, 0.5, 0.3, 0.1])
    engine = markov_engine(np.tile(after, (5, 1)), num_slots=16)
    requests = [
        Request(prompt="", settings=SamplingSpec(temperature=1.0, max_new_chars=1, seed=4), index=index)
        for index in range(2000)
    ]
    drawn = [completion.completion or "." for completion in engine.generate(requests)]
    counts = np.array([drawn.count(character) for character in ".abc"])
    expected = 2000 * after[1:]
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert (
        chi_square < 16.3
    )  # Three degrees of freedom: 1 in 1000 correct samplers would exceed it; this seed does not.


def test_unknown_is_never_drawn() -> None:
    engine = markov_engine(np.tile([0.9, 0.0, 0.04, 0.04, 0.02], (5, 1)), num_slots=2)
    settings = SamplingSpec(temperature=1.0, max_new_chars=400)
    text = engine.generate([Request(prompt="", settings=settings)])[0].completion
    assert set(text) == set("abc")
    greedy = engine.generate([Request(prompt="", settings=SamplingSpec(temperature=0.0, max_new_chars=4))])[0]
    assert greedy.completion == "aaaa"


def test_controls_are_read_before_the_prompt_and_never_drawn() -> None:
    """Each control leads to its own letter; most ids drawn after a letter would be controls."""
    from tests.hand_models import MarkovModel
    from textgen.generation.engine import Engine

    stars = Condition(column="label", values=("1", "5"))
    vocabulary = Vocabulary(unit="characters", symbols=ENDING.symbols, conditions=(stars,))
    from_none, from_1, from_5 = np.eye(8)[[2, 3, 4]]
    from_letter = [0.0, 0.01, 0.03, 0.03, 0.03, 0.3, 0.3, 0.3]
    model = MarkovModel([from_letter, from_letter, *[from_letter] * 3, from_none, from_1, from_5])
    engine = Engine(model, vocabulary, num_slots=3)
    settings = SamplingSpec(temperature=1.0, max_new_chars=30)
    requests = [
        Request(prompt="", settings=settings, condition=condition) for condition in ({}, {"label": 1}, {"stars": "5"})
    ]
    texts = [completion.completion for completion in engine.generate(requests)]
    assert [text[0] for text in texts] == ["a", "b", "c"]
    assert set("".join(texts)) == set("abc")


def test_a_document_begins_after_end_and_the_prompt_is_read() -> None:
    from_end, from_a, from_b, from_c = np.eye(5)[[4, 3, 2, 1]]  # END -> c, a -> b, b -> a, c -> END.
    engine = markov_engine([np.eye(5)[2], from_end, from_a, from_b, from_c], num_slots=3)
    settings = SamplingSpec(temperature=1.0, max_new_chars=5)
    completions = engine.generate([Request(prompt=prompt, settings=settings) for prompt in ("", "a", "cb", "Q", "bbc")])
    assert [(made.completion, made.finish_reason) for made in completions] == [
        ("c", "end"),
        ("babab", "length"),
        ("ababa", "length"),
        ("ababa", "length"),
        ("", "end"),
    ]
    assert [made.unknown_characters for made in completions] == [(), (), (), ("Q",), ()]


def test_a_new_stream_resets_the_state_of_its_slot() -> None:
    engine = clock_engine("abcabccb.", num_slots=2)
    completions = engine.generate([Request(prompt="", settings=SamplingSpec(temperature=0.0))] * 7)
    assert {(made.completion, made.finish_reason) for made in completions} == {("abcabccb", "end")}


@pytest.mark.parametrize("prompt_length", [0, 1, 31, 32, 33, 64, 100])
def test_prompts_and_stop_texts_may_cross_calls(prompt_length: int) -> None:
    engine = clock_engine("c" * prompt_length + "a" * 50 + "bc" + "a" * 50, num_slots=2)
    settings = SamplingSpec(temperature=0.0, stop=("abca",), max_new_chars=90)
    made = engine.generate([Request(prompt="b" * prompt_length, settings=settings)])[0]
    assert (made.completion, made.finish_reason) == ("a" * 49, "stop")


def test_a_prompt_is_read_once_however_many_completions_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = clock_engine("ab.", num_slots=2)
    read = []
    whole = PreparedPrompt.of

    def noted(request: Request, *others: Any) -> PreparedPrompt:
        read.append(request.prompt)
        return whole(request, *others)

    monkeypatch.setattr(PreparedPrompt, "of", noted)
    settings = SamplingSpec(temperature=0.0)
    prompts = ["b", "b", "a", "b"]
    made = engine.generate([Request(prompt=prompt, settings=settings, index=i) for i, prompt in enumerate(prompts)])
    assert read == ["b", "a"]
    assert [completion.completion for completion in made] == [alone(prompt) for prompt in prompts]


def test_prompts_are_normalized() -> None:
    engine = markov_engine(np.tile(np.eye(5)[2], (5, 1)), num_slots=2, codec=TextCodec(clean=str.lower))
    made = engine.generate([Request(prompt="ABQ", settings=SamplingSpec(max_new_chars=2))])[0]
    assert (made.prompt, made.completion, made.unknown_characters) == ("ABQ", "aa", ("q",))


def queued(engine: Any, request: Request) -> Future[Completion]:
    future: Future[Completion] = engine.enqueue(engine.prepare([request])[0])
    return future


def alone(prompt: str) -> str:
    """Returns the completion of a prompt by an engine that serves nothing else."""
    settings = SamplingSpec(temperature=0.0)
    return clock_engine("ab.", num_slots=2).generate([Request(prompt=prompt, settings=settings)])[0].completion


def test_cancelled_requests_make_room() -> None:
    engine = clock_engine("a", num_slots=2)
    endless = Request(prompt="", settings=SamplingSpec(temperature=0.0, max_new_chars=10**9))
    futures = [queued(engine, endless) for _ in range(3)]
    engine.run_once()
    assert engine.num_unfinished == 3
    assert futures[2].cancel()
    assert engine.num_unfinished == 2  # The cancelled one is dropped when a slot becomes free.
    assert futures[0].cancel()
    assert futures[1].cancel()
    short = queued(engine, Request(prompt="", settings=SamplingSpec(temperature=0.0, max_new_chars=2)))
    engine.run_once()
    assert short.result(timeout=0).completion == "aa"
    assert engine.num_unfinished == 0
    assert not engine.run_once()


def test_a_failure_ends_every_request_and_the_engine_continues() -> None:
    engine = clock_engine("ab.", num_slots=1)
    futures = [queued(engine, Request(prompt="", settings=SamplingSpec())) for _ in range(3)]
    engine.fail_all(RuntimeError("lost"))
    for future in futures:
        with pytest.raises(RuntimeError, match="lost"):
            future.result(timeout=0)
    made = engine.generate([Request(prompt="", settings=SamplingSpec(temperature=0.0))])[0]
    assert made.completion == "ab"
