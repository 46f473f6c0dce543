"""Public models give the vectors that transformers gives, with the ids of its tokenizer, and are saved for it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch

from pretune.inference.load import classifier_of, load_matching_tokenizer
from pretune.model.folder import describe_native_head, load_model_folder, save_model_folder
from pretune.model.transformer import EncoderModel, LanguageModel, SequenceClassifier, TokenClassifier, initialize
from pretune.text.labels.labelling import Labelling
from pretune.text.tokenizer.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

TEXTS = ["The waiter was [MASK] and RUDE.", "Das Buch ist großartig.", "  A wonderful <mask> film, </s> warm  "]
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "electra": {"embedding_size": 16},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8, "hidden_activation": "gelu"},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
    "albert": {"embedding_size": 16},
    "mpnet": {},
}
NATIVE: dict[str, dict[str, Any]] = {
    "tied": {"tie_word_embeddings": True},
    "untied": {"tie_word_embeddings": False},
    "one key for all": {"num_key_value_heads": 1},
    "two keys": {"num_key_value_heads": 2},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}},
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
            "rope_theta": 500.0,
        }
    },
}
Write = Callable[..., Path]


def reference(folder: Path, head: str = "") -> Any:
    return getattr(transformers, f"AutoModel{head}").from_pretrained(folder, dtype=torch.float32).eval()


def ids_of(folder: Path, text: str) -> list[int]:
    """As transformers encodes a text whose special tokens are only text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return list(tokenizer(text, split_special_tokens=True, truncation=False)["input_ids"])


@pytest.mark.parametrize("kind", ENCODERS)
def test_vectors_and_ids_are_those_of_transformers(public_model: Write, kind: str) -> None:
    folder = public_model(kind, **ENCODERS[kind])
    loaded = load_model_folder(folder)
    tokenizer = load_matching_tokenizer(loaded)
    assert isinstance(loaded.model, EncoderModel)
    assert loaded.config.max_seq_len == {"roberta": 38, "xlm-roberta": 38, "mpnet": 38}.get(kind, 40)
    rows = [tokenizer.encode(text) for text in TEXTS]
    assert rows[:2] == [ids_of(folder, text) for text in TEXTS[:2]]
    assert all(set(row[1:-1]).isdisjoint(tokenizer.all_special_ids - {tokenizer.unk_id}) for row in rows)
    if _is_unigram(tokenizer):  # transformers takes a typed "</s>" for the token, which the vocabulary lists
        assert rows[2] != ids_of(folder, TEXTS[2])
    else:
        assert rows[2] == ids_of(folder, TEXTS[2])
    width = max(map(len, rows))
    input_ids = torch.tensor([row + [loaded.config.pad_token_id] * (width - len(row)) for row in rows])
    document_ids = torch.tensor([[0] * len(row) + [-1] * (width - len(row)) for row in rows])
    theirs = reference(folder)
    with torch.no_grad():
        ours = loaded.model.transformer(input_ids, document_ids)
        for row, vectors in zip(rows, ours, strict=True):  # alone, so that padding is seen to have no effect
            expected = theirs(torch.tensor([row])).last_hidden_state[0]
            assert torch.allclose(vectors[: len(row)], expected, atol=1e-4)
    assert tokenizer.first_ordinary_id <= min(set(rows[1]) - tokenizer.all_special_ids)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_saved_classifier_is_the_same_in_transformers(public_model: Write, kind: str, tmp_path: Path) -> None:
    folder = public_model(kind, "ForMaskedLM", **ENCODERS[kind])
    loaded = load_model_folder(folder)
    model = SequenceClassifier(loaded.config, 3, loaded.model.transformer)
    torch.nn.init.normal_(model.classifier.weight)
    torch.nn.init.normal_(model.classifier.bias)
    save_model_folder(tmp_path / "saved", model, folder, ["a", "b", "c"])
    again = load_model_folder(tmp_path / "saved")
    assert isinstance(again.model, SequenceClassifier)
    assert again.label_names == ("a", "b", "c")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    classifier = classifier_of(again)
    texts = TEXTS[:2] if _is_unigram(classifier.tokenizer) else TEXTS
    ours = classifier.predict_outputs(texts)
    notice = describe_native_head(again.model)
    assert notice is not None
    if kind == "modernbert":
        assert "loads this folder as an encoder" in notice
        encoder, head = reference(tmp_path / "saved"), again.model.classifier
        logits = [head(encoder(ids(tmp_path / "saved", text)).last_hidden_state.mean(1)) for text in texts]
    else:
        theirs = reference(tmp_path / "saved", "ForTokenClassification")
        assert type(theirs).__name__ in notice
        assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}
        logits = [theirs(ids(tmp_path / "saved", text)).logits.mean(1) for text in texts]
    expected = torch.softmax(torch.cat(logits), -1).detach().numpy()
    assert np.allclose(ours, expected, atol=1e-4)


def _is_unigram(tokenizer: Tokenizer) -> bool:
    return isinstance(tokenizer.backend.model, tokenizers.models.Unigram)


def ids(folder: Path, text: str) -> torch.Tensor:
    """As the saved settings tell transformers to encode: special tokens are text."""
    from pretune.text.clean.normalize import clean_text

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return torch.tensor([tokenizer(clean_text(text))["input_ids"]])


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "modernbert"])
def test_vectors_from_embeddings_are_those_from_ids(public_model: Write, kind: str) -> None:
    folder = public_model(kind, **ENCODERS[kind])
    encoder = load_model_folder(folder).model.transformer
    input_ids = torch.tensor([load_matching_tokenizer(load_model_folder(folder)).encode(TEXTS[1])])
    with torch.no_grad():
        expected = encoder(input_ids, torch.zeros_like(input_ids))
        found = encoder.from_embeddings(encoder.embed_tokens(input_ids))
    assert torch.allclose(found, expected, atol=1e-5)
    states = encoder.states(input_ids, torch.zeros_like(input_ids))
    assert len(states) == 3
    assert torch.allclose(states[-1], expected, atol=1e-5)
    assert not torch.allclose(states[-2], expected, atol=1e-2)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, torch.float32) for case in NATIVE), ("two keys", torch.bfloat16), ("two keys", torch.float16)],
    ids=str,
)
@pytest.mark.parametrize("kind", ["llama", "eurobert"])
def test_native_logits_are_those_of_transformers(
    public_model: Write, kind: str, case: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    head = "ForCausalLM" if kind == "llama" else "ForMaskedLM"
    options = {"hidden_act": "silu", **NATIVE[case]}
    folder = public_model(kind, head, dtype=dtype, **options)
    model = reference(folder, head).to(dtype)
    model.save_pretrained(folder, max_shard_size="20KB")  # several files and an index
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert (folder / "model.safetensors.index.json").is_file()
    loaded = load_model_folder(folder)
    assert isinstance(loaded.model, LanguageModel)
    row = torch.tensor([load_matching_tokenizer(loaded).encode(TEXTS[0] * 2)])
    causal = torch.ones(1, dtype=torch.bool) if kind == "llama" else None
    with torch.no_grad():
        expected = reference(folder, head)(row).logits
        found = loaded.model(row, torch.zeros_like(row), is_causal=causal)
    assert torch.allclose(found, expected, atol=1e-4)
    save_model_folder(tmp_path / "saved", loaded.model, folder)
    again = load_model_folder(tmp_path / "saved")
    assert again.config.rope_scaling == loaded.config.rope_scaling
    with torch.no_grad():
        both = reference(tmp_path / "saved", head)(row).logits
        assert torch.allclose(again.model(row, torch.zeros_like(row), is_causal=causal), both, atol=1e-4)


def test_a_eurobert_without_a_head_is_a_base(public_model: Write) -> None:
    folder = public_model("eurobert")
    loaded = load_model_folder(folder)
    row = torch.tensor([[5, 6, 7, 8]])
    assert isinstance(loaded.model, EncoderModel)
    with torch.no_grad():
        found = loaded.model.transformer(row, torch.zeros_like(row))
        assert torch.allclose(found, reference(folder)(row).last_hidden_state, atol=1e-4)


@pytest.mark.parametrize("kind", ["eurobert", "bert", "roberta"])
def test_a_head_trained_elsewhere_is_left_aside(public_model: Write, kind: str) -> None:
    folder = public_model(kind, "ForSequenceClassification")
    loaded = load_model_folder(folder)
    assert isinstance(loaded.model, EncoderModel)
    assert loaded.label_names is None
    assert loaded.notice is not None
    assert "starts without that head" in loaded.notice


def test_random_weights_are_drawn_from_the_seed(public_model: Write) -> None:
    config = load_model_folder(public_model("bert")).config
    one, other, third = (SequenceClassifier(config, 2) for _ in range(3))
    initialize(one, 1)
    initialize(other, 1)
    initialize(third, 2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True))
    is_norm = [name for name, _ in one.named_parameters() if "LayerNorm.weight" in name]
    assert all(bool((one.get_parameter(name) == 1).all()) for name in is_norm) and is_norm


def test_segments_follow_the_first_separator(public_model: Write) -> None:
    folder = public_model("bert")
    loaded = load_model_folder(folder)
    expected = load_matching_tokenizer(loaded).backend.encode("the hotel", "was cold")
    row = torch.tensor([expected.ids])
    assert loaded.model.transformer.segments_of(row).tolist() == [expected.type_ids]
    with torch.no_grad():
        theirs = reference(folder)(row, token_type_ids=torch.tensor([expected.type_ids])).last_hidden_state
        assert torch.allclose(loaded.model.transformer(row, torch.zeros_like(row)), theirs, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_saved_token_classifier_is_transformers_own(public_model: Write, kind: str, tmp_path: Path) -> None:
    folder = public_model(kind, "ForMaskedLM", **ENCODERS[kind])
    loaded = load_model_folder(folder)
    names = ("O", "B-person", "I-person")
    labelling = Labelling(names=("person",), task="tokens", output_names=names)
    model = TokenClassifier(loaded.config, 3, loaded.model.transformer)
    save_model_folder(tmp_path / "saved", model, folder, labelling)
    again, notice = load_model_folder(tmp_path / "saved"), describe_native_head(model)
    assert isinstance(again.model, TokenClassifier)
    assert again.labelling == labelling
    row = torch.tensor([load_matching_tokenizer(again).encode(TEXTS[1])])
    with torch.no_grad():
        found = again.model(row, torch.zeros_like(row))
        if kind == "modernbert":
            assert notice is not None
            assert "for every token" in notice
            expected = again.model.classifier(reference(tmp_path / "saved")(row).last_hidden_state)
        else:
            assert notice is None
            theirs = reference(tmp_path / "saved", "ForTokenClassification")
            assert theirs.config.id2label == dict(enumerate(names))
            expected = theirs(row).logits
    assert torch.allclose(found, expected, atol=1e-4)
