"""What goes out: complete, with its licence, and nothing that a source does not allow."""

import json
from dataclasses import replace

import pytest
from hub_server import TOKEN, hub_server
from huggingface_hub import ModelCard
from judged import TESTS, parameters
from registered import NAME, evidence, register
from released import block, card, terms

from ruri_kedro.errors import PublicationError, RecipeError
from ruri_kedro.registry.publishing import publication
from ruri_kedro.registry.publishing.terms import parse_terms
from ruri_kedro.registry.versions import registered as versions
from ruri_kedro.tables.files import read_json
from ruri_kedro.tables.manifest import differing_files

LICENCES = parameters()["licences"]


def sources(**licences: str) -> dict:
    return {name: {"licence": licence} for name, licence in licences.items()}


@pytest.fixture
def fetched(store, folders, tmp_path):
    """The checked files of a registered version with a whole card."""
    given = replace(evidence(), card=card())
    register(folders / "embedder", given)
    return versions.fetch(NAME, "challenger", tmp_path / "fetched")


def test_a_model_goes_out_with_card_results_evidence_and_manifest(fetched, tmp_path):
    from sentence_transformers import SentenceTransformer

    out = tmp_path / "out"
    publication.publish_model(fetched, NAME, out, terms("cc-by-4.0"), LICENCES, "team/ruri-tiny")
    card = ModelCard.load(out / "README.md")
    assert card.data.license == "cc-by-4.0" and card.data.language == ["ja"]
    assert {result.dataset_name for result in card.data.eval_results} == set(TESTS)
    assert 'SentenceTransformer("team/ruri-tiny")' in card.text
    assert SentenceTransformer(str(out), device="cpu").encode("駅").shape == (32,)
    assert "vectors of any length out" in card.text, "whatever the card said: the model does not bring them to length 1"
    files = read_json(out / "manifest.json")["files"]
    assert {"model.safetensors", "README.md", "evidence/scores.parquet", "evidence/training.json"} <= files.keys()
    assert list(differing_files(out, files)) == []
    publication.publish_model(fetched, NAME, out, terms(), LICENCES, None)
    assert ModelCard.load(out / "README.md").data.license == "apache-2.0", "what was published is replaced"


def test_a_model_is_refused_for_the_licence_of_a_source(fetched, tmp_path):
    training = fetched / "evidence/training.json"
    training.write_text('{"sources": {"news": {"licence": "CC BY-NC 4.0"}, "wiki": {"licence": "MIT"}}}', "utf-8")
    with pytest.raises(PublicationError, match=r"commercial ends, which is not allowed by: news \(CC BY-NC 4\.0\)\."):
        publication.publish_model(fetched, NAME, tmp_path / "out", terms(), LICENCES, None)
    assert not (tmp_path / "out").exists()
    publication.publish_model(fetched, NAME, tmp_path / "out", terms("cc-by-nc-4.0"), LICENCES, None)


def test_a_model_is_refused_whose_examples_were_made_anew(fetched, tmp_path):
    training = {
        "sources": {},
        "tables": {"pretraining": {"digest": "b"}},
        "trained": {"pretraining": {"examples": "a"}},
    }
    (fetched / "evidence/training.json").write_text(json.dumps(training), "utf-8")
    with pytest.raises(
        PublicationError, match=r"examples of pretraining were made anew .* sources of ruri-tiny are not"
    ):
        publication.publish_model(fetched, NAME, tmp_path / "out", terms("cc-by-4.0"), LICENCES, None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("licence", "found", "refused"),
    [
        ("apache-2.0", sources(a="Apache-2.0", b="CC0 1.0", c="mit"), None),
        ("apache-2.0", sources(a="Apache-2.0", b="CC BY-SA 4.0", c="unknown"), r"b \(CC BY-SA 4.0\), c \(unknown\)"),
        ("cc-by-sa-4.0", sources(a="CC BY-SA 3.0", b="cc-by-sa-4.0", c="CC BY 2.5"), None),
        ("cc-by-sa-4.0", sources(a="CC BY-SA 4.0", b="CC BY-NC-SA 4.0"), r"b \(CC BY-NC-SA 4.0\)"),
        ("cc-by-nc-sa-4.0", sources(a="CC BY-SA 4.0"), r"a \(CC BY-SA 4.0\)"),  # share alike: under its own only
    ],
)
def test_texts_go_out_only_under_what_their_licence_allows(licence, found, refused):
    if refused is None:
        publication.check_dataset(found, terms(dataset=licence))
    else:
        with pytest.raises(PublicationError, match=f"may not go out under {licence} from: {refused}"):
            publication.check_dataset(found, terms(dataset=licence))


def test_a_licence_of_which_nothing_is_said_is_refused():
    with pytest.raises(PublicationError, match="'openrail', the licence of the model, is missing"):
        publication.check_model(sources(a="MIT"), terms("openrail"), LICENCES)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"license": {}}, r"publication.license: there is no such parameter. Did you mean licence\?"),
        ({"model": {"mit": "all"}}, "publication.model.mit: \"all\" is given, expected is 'commercial'"),
        ({"dataset": None}, "publication.dataset: null is given"),
        ({"licence": {"model": "", "dataset": "mit"}}, 'publication.licence.model: "" is given'),
        ({"licence": {"model": "mit"}}, "publication.licence.dataset: missing"),
    ],
)
def test_terms_that_cannot_be_are_named(changed, said):
    with pytest.raises(RecipeError, match=said):
        parse_terms(block(**changed))


def test_nothing_that_stands_there_is_replaced_and_other_weights_are_refused(fetched, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(PublicationError, match="is there already and was not published"):
        publication.publish_model(fetched, NAME, tmp_path, terms(), LICENCES, None)
    assert (tmp_path / "thesis.txt").exists()
    (fetched / "model.sentence_transformer/pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(PublicationError, match=r"not in safetensors alone: pytorch_model\.bin"):
        publication.publish_model(fetched, NAME, tmp_path / "out", terms(), LICENCES, None)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in of the hub that the client talks to; nobody is logged in."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in takes plain commits
    with hub_server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        yield server


def test_nothing_is_uploaded_without_a_login(hub, tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n", "utf-8")
    for token in (None, "hf_wrong"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(PublicationError, match=r"does not know you\. Log in .* Nothing was uploaded"):
            publication.upload(tmp_path, "team/ruri-tiny", "model")
    assert hub.made == [] and hub.files == {}


@pytest.mark.parametrize(("kind", "public"), [("model", False), ("dataset", True)])
def test_an_upload_brings_every_file_to_a_repository_of_its_kind(hub, tmp_path, monkeypatch, kind, public):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    sent = {"README.md": b"---\nlicense: mit\n---\n", "data/a.parquet": bytes(range(256))}
    for name, data in sent.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(data)
    address = publication.upload(tmp_path / "out", "team/ruri-tiny", kind, public)
    assert address.endswith("team/ruri-tiny")
    (made,) = hub.made
    assert made["name"] == "ruri-tiny" and made["organization"] == "team"
    assert (made["type"], made["visibility"]) == (kind, "public" if public else "private")
    assert hub.files == {f"{kind}s/team/ruri-tiny": sent}


def test_the_name_of_a_repository_is_checked():
    for wrong in ("ruri", "a/b/c", "team/ruri tiny"):
        with pytest.raises(PublicationError, match="is not a repository of the hub"):
            publication.check_repository(wrong)
