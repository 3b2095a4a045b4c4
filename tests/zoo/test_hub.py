"""Models on a Hub, which is a server of this machine: pushed, loaded, pinned, and refused where they are not whole."""

import numpy as np
import pytest
from hub_server import HubServer

from keras_moe import models, zoo
from keras_moe.zoo.hub_card import readme

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")  # loaded lazily
pytestmark = pytest.mark.once


@pytest.fixture
def fresh():
    """Nothing here leaves state in Keras, and clearing it costs more than these tests."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = HubServer()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "pets"
    model = models.HydraNet((8, 8, 3), 0.5, "resnet8", 2, top_k=1, gate_filters=0, classes=2)
    metric = zoo.Metric("accuracy", 0.75, "test", (0,), (0.75,))
    zoo.save(
        model, folder, labels=("cat", "dog"), license="CC0-1.0", summary="Cats and dogs.", metrics=(metric,),
        data=zoo.Data("Pets of mine", "CC0-1.0", "my phone", "https://example.org"),
        calibration=np.zeros((8, 8, 8, 3)), records={"log": {"loss": [1.0]}},
    )  # fmt: skip
    return folder


def content(folder, *but):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in but}


def test_pushed_and_loaded(hub, folder):
    address = zoo.push(folder, "me/pets", token="hf_secret", endpoint=hub.url)
    (digest, files) = hub.commits["me/pets"][0]
    assert address == f"hf://me/pets@{digest}"
    assert sorted(files) == ["README.md", "card.toml", "labels.txt", "weights.safetensors"]  # no image, no log
    assert zoo.card("hf://me/pets") == zoo.card(address)
    assert zoo.card(address).classes == ("cat", "dog")
    assert zoo.calibration_images(address) is None
    x = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    np.testing.assert_array_equal(zoo.load(address).predict(x, verbose=0), zoo.load(folder).predict(x, verbose=0))
    assert [row[0][1] for row in zoo.decode_predictions([[0.9, 0.1]], address, top=1)] == ["cat"]


def test_images_are_published_on_request_alone(hub, folder):
    address = zoo.push(folder, "me/pets", images=True, endpoint=hub.url)
    assert zoo.calibration_images(address).shape == (8, 8, 8, 3)


def test_a_commit_stays_what_it_was_and_needs_no_network(hub, folder):
    first = hub.commit("me/pets", content(folder))
    card = zoo.card(f"hf://me/pets@{first}")
    zoo.load(f"hf://me/pets@{first}")
    text = content(folder)["card.toml"].replace(b"Cats and dogs.", b"Dogs and cats.")
    hub.commit("me/pets", {**content(folder), "card.toml": text})
    assert zoo.card("hf://me/pets").summary == "Dogs and cats."
    assert zoo.card(f"hf://me/pets@{first}") == card
    asked = len(hub.asked)
    zoo.load(f"hf://me/pets@{first}")
    assert len(hub.asked) == asked


def test_offline_asks_nobody(hub, folder, monkeypatch):
    kept = hub.commit("me/pets", content(folder))
    card = zoo.card(f"hf://me/pets@{kept}")
    asked = len(hub.asked)
    monkeypatch.setenv("KERAS_MOE_OFFLINE", "1")
    assert zoo.card(f"hf://me/pets@{kept}") == card
    for address in ("hf://me/pets", "hf://me/other"):  # which commit a branch means is for the Hub to say
        with pytest.raises(ConnectionError, match="is not on this machine, and the Hub cannot be asked"):
            zoo.card(address)
    with pytest.raises(ConnectionError, match="KERAS_MOE_OFFLINE forbids the network"):
        zoo.push(folder, "me/pets", endpoint=hub.url)
    assert len(hub.asked) == asked


def test_files_that_are_not_the_cards(hub, folder):
    data = bytearray(content(folder)["weights.safetensors"])
    data[-1] ^= 1
    hub.commit("me/bad", {**content(folder), "weights.safetensors": bytes(data)})
    with pytest.raises(zoo.IntegrityError, match=r"me/bad@\w{40}/weights.safetensors is not the file its card"):
        zoo.load("hf://me/bad")
    hub.commit("me/huge", {**content(folder), "weights.safetensors": bytes(data) + b"more"})
    with pytest.raises(zoo.IntegrityError, match=r"expected at most .* Received: "):
        zoo.load("hf://me/huge")
    assert ("GET", "/me/huge/resolve/main/weights.safetensors") not in hub.asked  # refused before the download


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("hf://me", ValueError, "Expected a model as hf://user/repo"),
        ("hf://me/pets@", ValueError, "Expected a model as hf://user/repo"),
        ("hf://me/../../etc", ValueError, "Expected a model as hf://user/repo"),
        ("hf://me/other", ConnectionError, "hf://me/other cannot be read: "),
        ("hf://me/pets@v9", ConnectionError, "hf://me/pets@v9 cannot be read: "),
        ("hf://me/empty", ValueError, "has no card.toml"),
    ],
)
def test_addresses_of_nothing(address, error, message, hub, folder):
    hub.commit("me/pets", content(folder))
    hub.commit("me/empty", {"x": b"x"})
    with pytest.raises(error, match=message):
        zoo.card(address)


def test_what_is_not_pushed(hub, folder, tmp_path):
    with pytest.raises(ValueError, match="`repo` must be 'user/repo'"):
        zoo.push(folder, "pets@main", endpoint=hub.url)
    (tmp_path / "mine").mkdir()
    for name, data in content(folder).items():
        (tmp_path / "mine" / name).write_bytes(data.replace(b'license = "CC0-1.0"\nmodel', b"model"))
    with pytest.raises(ValueError, match="names no license"):
        zoo.push(tmp_path / "mine", "me/pets", endpoint=hub.url)
    (tmp_path / "mine" / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="names no license"):
        zoo.push(tmp_path / "mine", "me/pets", endpoint=hub.url)
    assert not hub.asked
    hub.refuses = True
    with pytest.raises(ConnectionError, match="push: me/pets was not published: "):
        zoo.push(folder, "me/pets", endpoint=hub.url)


def test_the_readme_is_a_model_card_of_the_hub(folder):
    card = huggingface_hub.ModelCard(readme(zoo.card(folder), "me/pets"))
    data = card.data.to_dict()
    assert {key: data[key] for key in ("license", "library_name", "pipeline_tag", "tags", "metrics")} == {
        "license": "cc0-1.0",
        "library_name": "keras-moe",
        "pipeline_tag": "image-classification",
        "tags": ["keras", "mixture-of-experts", "hydranet"],
        "metrics": ["accuracy"],
    }
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", 0.75, "Pets of mine")
    assert (result.task_type, result.dataset_type, result.dataset_split) == (
        "image-classification",
        "pets-of-mine",
        "test",
    )
    assert card.data.model_name == "pets"
    assert 'zoo.load("hf://me/pets")' in card.text
    assert "| accuracy | 75.00% | test |" in card.text


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_published_card_makes_such_a_readme(name):
    card = huggingface_hub.ModelCard(readme(zoo.card(name), f"me/{name}"))
    assert card.data.license == "other" or card.data.license in ("apache-2.0", "cc-by-4.0", "cc-by-nc-4.0")
    assert (card.data.license == "other") == bool(card.data.to_dict().get("license_name"))
    assert card.data.eval_results[0].metric_value == zoo.card(name).metrics[0].value
