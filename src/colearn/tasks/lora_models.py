"""Models of the task spam: adapters on a pretrained sentence model, as a learner."""

from __future__ import annotations

from functools import partial
from typing import Any

from colearn.errors import MissingExtra
from colearn.learners.base import Samples
from colearn.tasks.mails import model_folder
from colearn.tasks.registry import Task

try:
    import torch
    from peft import LoraConfig
    from torch import nn
    from transformers import AutoModel

    from colearn.learners.lora import LoraLearner
except ModuleNotFoundError as reason:
    raise MissingExtra("this task's model", reason.name or "peft", "spam") from None


def learner(
    task: Task,
    *,
    train: Samples,
    vote: Samples,
    test: Samples | None,
    seed: int,
    learning_rate: float,
    batch_size: int,
    policy: str,
) -> LoraLearner:
    """Make a learner of a task; see `Task.learner`."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = SentenceClassifier(outputs=task.classes or 1)
    return LoraLearner(
        model,
        adapter=LoraConfig(r=8, target_modules=["query", "value"], modules_to_save=["head"]),
        loss=nn.functional.cross_entropy,
        optimizer=partial(torch.optim.Adam, lr=learning_rate),
        train=train,
        vote=vote,
        test=test,
        steps=task.steps,
        batch_size=batch_size,
        policy=policy,
        seed=seed,
    )


class SentenceClassifier(nn.Module):
    """A linear layer on the mean of the sentence model's token vectors, as it was trained for."""

    def __init__(self, *, outputs: int) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(model_folder(), local_files_only=True)
        width = self.encoder.config.hidden_size
        self.scale = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, outputs)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        """Class scores of shape (n, outputs)."""
        vectors = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(vectors.dtype)
        return self.head(self.scale((vectors * mask).sum(1) / mask.sum(1).clamp(min=1)))
