"""What a step reports."""

from ruri_kedro.training.measures import Measures


def test_metrics_of_a_step():
    seen = Measures(1.5, {"news": 1.0, "faq (old)": 2.0}, tokens=300, padded_tokens=400, similarity=0.2)
    assert seen.metrics(examples=8, seconds=2.0) == {
        "loss": 1.5,
        "examples_per_second": 4,
        "tokens_per_second": 150,
        "padding_share": 0.25,
        "similarity": 0.2,
        "source_loss/news": 1.0,
        "source_loss/faq old": 2.0,
    }
