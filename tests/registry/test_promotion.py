"""Challengers in a real registry: refused with reasons, promoted, rolled back, and two at the same time."""

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from kedro_project import REPOSITORY
from registered import CARD, NAME, OTHER_WORDS, PROMOTION, aliases, evidence, register, register_unsigned, stored, tags
from tiny import tiny_encoder, tiny_reranker

from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.evidence.evidence import write_evidence, write_manifest
from ruri_kedro.registry.promotion import lease as leases
from ruri_kedro.registry.promotion import promote as promotion
from ruri_kedro.registry.versions import models
from ruri_kedro.registry.versions import registered as versions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "embedder"
    tiny_encoder().save_pretrained(str(path))
    return path


def promote(**changed):
    decision = promotion.judge_version(PROMOTION | changed)
    promotion.apply_decision(decision)
    return decision


def failed(decision) -> dict[str, str]:
    return {verdict.gate: verdict.reason for verdict in decision.verdicts if not verdict.passed}


def test_first_equal_better_and_the_way_back(store, folder):
    register(folder)
    first = promote()
    assert failed(first) == {} and first.champion is None
    assert aliases() == {"challenger": 1, "champion": 1}

    register(folder, evidence(card=OTHER_WORDS))
    equal = promote()
    assert failed(equal).keys() == {"gain"} and aliases() == {"challenger": 2, "champion": 1}
    assert tags(2)["promotion.decision"] == "refused: gain" and tags(2)["promotion.against"] == "1"

    register(folder, evidence(level=0.6))
    better = promote()
    assert failed(better) == {} and aliases() == {"challenger": 3, "champion": 3, "previous": 1}
    assert tags(3)["promotion.decision"] == "promoted" and tags(3)["promotion.gate.gain"].startswith("pass: questions")
    again = promote()
    assert failed(again) == {**failed(again), "standing": "it is the champion"}
    assert tags(3)["promotion.decision"] == "promoted"

    register(folder, evidence(level=0.7))
    promote()
    assert aliases() == {"challenger": 4, "champion": 4, "previous": 3}
    assert promotion.rollback(NAME) == (3, 4) and aliases() == {"challenger": 4, "champion": 3, "previous": 1}
    assert "it was rolled back on 20" in failed(promote())["standing"]
    assert tags(4)["promotion.decision"] == "refused: standing"
    assert promotion.rollback(NAME) == (1, 3) and aliases() == {"challenger": 4, "champion": 1}
    with pytest.raises(RegistryError, match="'ruri-tiny' has no previous champion to go back to"):
        promotion.rollback(NAME)


def test_the_decision_and_what_it_was_made_on_stay_with_the_version(store, folder):
    import mlflow

    register(folder)
    promote()
    client = mlflow.MlflowClient()
    version = client.get_model_version(NAME, "1")
    assert version.description == "# tiny\n"  # the card without its YAML head
    kept = stored(1, store) / version.tags["promotion.report"]
    decision = json.loads((kept / "decision.json").read_text("utf-8"))
    assert decision["promoted"] and decision["version"] == 1 and decision["champion"] is None
    challenger = decision["inputs"]["challenger"]
    assert challenger["run"] == version.run_id and challenger["data"] == {"pairs": "aaa", "git_commit": "c0ffee"}
    assert challenger["tests"]["faq"] == "f" and challenger["trial"]["latency_ms"] > 0
    assert "| gain | pass | no champion yet |" in (kept / "report.md").read_text("utf-8")
    # What is decided later does not make the files differ from their manifest.
    assert versions.challenger_evidence(NAME, 1).faults == ()


def test_a_model_that_is_fetched_is_checked_and_has_its_card(store, folder, tmp_path):
    from sentence_transformers import SentenceTransformer

    register(folder)
    fetched = versions.fetch(NAME, "challenger", tmp_path / "fetched")
    model = fetched / "model.sentence_transformer"
    assert (model / "README.md").read_text("utf-8") == CARD
    assert SentenceTransformer(str(model), device="cpu").encode("駅").shape == (32,)
    weights = stored(1, store) / "model.sentence_transformer/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(RegistryError, match=r"version 1 is not to be trusted: .*model\.safetensors has SHA-256"):
        versions.fetch(NAME, "1", tmp_path / "again")


def damage_weights(root):
    weights = root / "model.sentence_transformer/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])


def add_code(root):
    (root / "model.sentence_transformer/modeling.py").write_text("print('hello')")


def better_figures(root):
    write_evidence(root, evidence(level=0.95))


def new_manifest(root):
    damage_weights(root)
    write_manifest(root)


def drop(name):
    def remove(root):
        (root / name).unlink()

    return remove


@pytest.mark.parametrize(
    ("spoil", "gate", "reason"),
    [
        (damage_weights, "manifest", r"corrupted: model.sentence_transformer/model.safetensors has \d+ bytes"),
        (add_code, "manifest", r"corrupted: .*modeling.py is not in the manifest"),
        (better_figures, "manifest", r"corrupted: .*evidence/probe.json has .*; evidence/scores.parquet has"),
        (new_manifest, "manifest", r"corrupted: evidence/manifest.json has SHA-256 .*, the version says"),
        (drop("evidence/manifest.json"), "manifest", "unsigned"),
        (drop("evidence/contamination.json"), "manifest", "corrupted: evidence/contamination.json is missing"),
        (drop("MLmodel"), "signature", "unsigned"),
    ],
)
def test_a_version_that_was_changed_is_refused(store, folder, spoil, gate, reason):
    register(folder, evidence(level=0.9))
    spoil(stored(1, store))
    found = failed(promote())
    assert re.search(reason, found[gate]), found
    assert aliases() == {"challenger": 1}


def test_bad_evidence_is_refused(store, folder):
    register(folder, evidence(level=0.9, licence="proprietary", leaked=3))
    assert failed(promote()).keys() == {"licence", "contamination"}
    register_unsigned(folder, NAME)
    assert failed(promote())["manifest"].startswith("unsigned")
    register(folder, evidence(level=0.9))
    found = failed(
        promote(
            latency_ms={"embedder": 0.0, "reranker": 0, "multi_vector": 0},
            size_mb={"embedder": 0.01, "reranker": 0, "multi_vector": 0},
        )
    )
    assert found.keys() == {"latency", "size"} and aliases() == {"challenger": 3}


def test_other_weights_than_were_scored_do_not_reproduce_the_probe(store, folder, monkeypatch):
    monkeypatch.setattr(models, "scored_probe", lambda kind, model, rows: [row | {"score": 0.0} for row in rows])
    register(folder)
    assert "scores not reproduced" in failed(promote())["probe"]


def test_a_reranker_is_promoted_as_well(store, tmp_path):
    import mlflow

    tiny_reranker(tmp_path / "base").save_pretrained(str(tmp_path / "reranker"))
    given = evidence()
    tests = {name: {"category": "reranking", "digest": name} for name in given.tests}
    given = replace(given, tests=tests, contamination=given.contamination | {"tests": list(tests)})
    with mlflow.start_run():
        models.register_reranker(tmp_path / "reranker", "ruri-reranker-tiny", {}, given)
    decision = promotion.judge_version(PROMOTION, "ruri-reranker-tiny")
    assert failed(decision) == {}
    assert (stored(1, store, "ruri-reranker-tiny") / "artifacts/reranker/README.md").read_text("utf-8") == CARD


def test_without_a_challenger_the_remedy_is_named(store):
    with pytest.raises(RegistryError, match="'ruri-tiny': no version has the alias 'challenger'"):
        promotion.judge_version(PROMOTION)


def test_a_challenger_judged_against_another_champion_is_told(store, folder):
    register(folder)
    register(folder, evidence(level=0.6))
    one, two = (promotion.judge_version(PROMOTION, number=number) for number in (1, 2))
    assert one.promoted and two.promoted  # against no champion
    promotion.apply_decision(two)
    with pytest.raises(RegistryError, match=r"another champion \(none\) than there is now \(version 2\)"):
        promotion.apply_decision(one)
    assert aliases()["champion"] == 2


def test_a_judgement_from_before_a_rollback_does_not_promote_again(store, folder):
    """The champion that it was made against is there again, but the version was tried meanwhile."""
    register(folder)
    promote()
    register(folder, evidence(level=0.6))
    early = promotion.judge_version(PROMOTION)
    promote()
    promotion.rollback(NAME)
    with pytest.raises(
        RegistryError, match=r"version 2: it was rolled back on .* of ruri-tiny version 2\. Nothing was"
    ):
        promotion.apply_decision(early)
    assert aliases() == {"challenger": 2, "champion": 1} and "promotion.rolled_back" in tags(2)


def test_the_way_back_skips_a_champion_that_was_deleted(store, folder):
    import mlflow

    for level in (0.5, 0.6, 0.7):
        register(folder, evidence(level))
        assert promote().promoted
    mlflow.MlflowClient().delete_model_version(NAME, "1")
    assert promotion.rollback(NAME) == (2, 3)
    assert aliases() == {"challenger": 3, "champion": 2} and "promotion.rolled_back" in tags(3)
    with pytest.raises(RegistryError, match="no previous champion"):
        promotion.rollback(NAME)


PROMOTER = """
import sys, time
sys.path.insert(0, sys.argv[3])
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
from registered import PROMOTION
from ruri_kedro.errors import RegistryError
from ruri_kedro.registry.promotion import promote as promotion
decision = promotion.judge_version(PROMOTION, number=int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
try:
    promotion.apply_decision(decision)
    print("promoted" if decision.promoted else decision.summary)
except RegistryError as error:
    print("told:", error)
"""


@pytest.mark.long
def test_of_two_promotions_at_the_same_time_one_wins_and_the_other_is_told(store, folder):
    register(folder)
    promote()
    for card in (CARD, OTHER_WORDS):
        register(folder, evidence(level=0.6, card=card))
    uri, helpers = f"sqlite:///{store / 'mlflow.db'}", str(REPOSITORY / "tests/support")
    started = [
        subprocess.Popen([sys.executable, "-c", PROMOTER, uri, number, helpers], text=True, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in ("2", "3")
    ]  # fmt: skip
    for process in started:
        line = process.stdout.readline()
        assert line == "ready\n", process.stderr.read()
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0].strip() for process in started]
    assert sorted(text.split(":")[0].split()[0] for text in said) == ["promoted", "told"], said
    winner = 2 + [text == "promoted" for text in said].index(True)
    assert aliases()["champion"] == winner and aliases()["previous"] == 1
    assert "another" in next(text for text in said if text != "promoted")
    assert not [key for key in registered_tags() if key.startswith("promotion.lease.")]


def registered_tags() -> dict[str, str]:
    import mlflow

    return mlflow.MlflowClient().get_registered_model(NAME).tags


def test_the_lease_is_one_and_ends_with_its_holder(store, monkeypatch):
    import mlflow

    mlflow.MlflowClient().create_registered_model(NAME)
    with leases.lease(NAME) as held:
        held.check()
        busy = pytest.raises(RegistryError, match=r"another promotion or rollback is under way.*ends in \d+ seconds")
        with busy, leases.lease(NAME, wait=0.0):
            pass
    assert registered_tags() == {}
    # A holder that died leaves its tag, which is removed when its time is over.
    mlflow.MlflowClient().set_registered_model_tag(NAME, "promotion.lease.dead", "1.0")
    monkeypatch.setattr(leases, "SECONDS", 0.0)
    with leases.lease(NAME) as held:
        assert len(registered_tags()) == 1
        with pytest.raises(RegistryError, match="too slow, nothing was moved"):
            held.check()


def test_of_many_contenders_one_holds_the_lease_at_a_time(store):
    import mlflow

    mlflow.MlflowClient().create_registered_model(NAME)
    inside, most = [], []

    def contend(number: int) -> None:
        for _ in range(2):
            with leases.lease(NAME, wait=300):
                inside.append(number)
                time.sleep(0.02)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(contend, number) for number in range(4)]:
            done.result()
    assert most == [1] * 8 and registered_tags() == {}


RELEASED = f"{NAME}-released"


def test_with_a_released_model_a_copy_becomes_the_champion(store, folder):
    import mlflow
    from sentence_transformers import SentenceTransformer

    register(folder)
    first = promote(released="{model}-released")
    assert first.promoted and aliases() == {"challenger": 1} and aliases(RELEASED) == {"champion": 1}
    copied = tags(1, RELEASED)
    assert copied["promotion.copy_of"] == "ruri-tiny/1" and copied["manifest_sha256"] == tags(1)["manifest_sha256"]
    assert copied["promotion.decision"] == tags(1)["promotion.decision"] == "promoted"
    assert failed(promote(released="{model}-released"))["standing"] == "it is the champion"
    assert tags(1)["promotion.decision"] == "promoted", "a second try takes nothing away"
    register(folder, evidence(card=OTHER_WORDS))
    assert failed(promote(released="{model}-released")).keys() == {"gain"}, "the copy has the scores of its original"
    register(folder, evidence(level=0.6))
    assert promote(released="{model}-released").to_json()["released"] == RELEASED
    assert aliases(RELEASED) == {"champion": 2, "previous": 1} and tags(2, RELEASED)["promotion.against"] == "1"

    # What is released does not hang on the version that it was copied from.
    mlflow.MlflowClient().delete_model_version(NAME, "3")
    assert isinstance(versions.load(f"{RELEASED}@champion"), SentenceTransformer)
    assert versions.logged_evidence(RELEASED, 2).scores
    assert promotion.rollback(RELEASED) == (1, 2) and aliases(RELEASED) == {"champion": 1}


def test_a_released_copy_that_was_rolled_back_is_not_promoted_again(store, folder):
    for level in (0.5, 0.6):
        register(folder, evidence(level))
        assert promote(released=RELEASED).promoted
    promotion.rollback(RELEASED)
    assert "it was rolled back on 20" in failed(promote(released=RELEASED))["standing"]


def test_what_happened_to_the_original_is_not_the_way_back_of_its_copy(store, folder):
    """Version 2 took the place of 1; its copy, the first in the released model, took nobody's."""
    for level in (0.5, 0.6):
        register(folder, evidence(level))
        assert promote().promoted
    assert promotion.judge_version(PROMOTION | {"released": RELEASED}, NAME, 1).promoted
    assert promote(released=RELEASED).promoted
    register(folder, evidence(level=0.7))
    assert promote(released=RELEASED).promoted
    assert promotion.rollback(RELEASED) == (1, 2) and aliases(RELEASED) == {"champion": 1}
    promotion.rollback(NAME)
    elsewhere = promotion.judge_version(PROMOTION | {"released": "other"}, NAME, 2)
    assert "of ruri-tiny version 2" in failed(elsewhere)["standing"]


def test_a_version_whose_manifest_changed_after_the_judgement_is_not_released(store, folder):
    import mlflow

    register(folder)
    decision = promotion.judge_version(PROMOTION | {"released": RELEASED})
    mlflow.MlflowClient().set_model_version_tag(NAME, "1", "manifest_sha256", "0" * 64)
    with pytest.raises(RegistryError, match="another manifest than when it was judged: nothing was moved"):
        promotion.apply_decision(decision)
    assert aliases(RELEASED) == {} and versions.numbers(RELEASED) == []
