"""Any PyTorch module as a learner.

The module's trained parameters and its buffers (such as the running statistics of
batch normalisation) are the weights. Frozen parameters, those that require no
gradient, do not travel: one small tensor says by digest which ones they are.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from colearn.errors import (
    ColearnError,
    ConfigError,
    LearnerError,
    MissingExtra,
    UnsupportedModel,
)
from colearn.learners.base import TrainingOptions
from colearn.learners.frozen import FROZEN, check_frozen, frozen_digest
from colearn.learners.measures import r_squared
from colearn.learners.samples import Samples
from colearn.learners.supervised import one_line
from colearn.protocols import Tensors

try:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
except ModuleNotFoundError:
    raise MissingExtra("TorchLearner", "torch", "torch") from None

from colearn.learners.torch_batches import DatasetLearner, TorchSamples, batches_in_order, moved
from colearn.learners.torch_tensors import copied, frozen, trained, travelling, view, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colearn.privacy.guard import NoisySteps

_JUDGED_AT_ONCE = 4  # times the batch size: without gradients there is room for more

_RANDOM = Lock()
"""Torch draws from generators that all threads share: one trains at a time."""

Loss = Callable[..., torch.Tensor]
"""(outputs, targets) → the mean loss, or with ``reduction="none"`` that of each sample."""


class TorchLearner(DatasetLearner):
    """A PyTorch module behind the Machine Learning Interface.

    Learners that learn together must be given modules with the same values:
    build one, and give it to all.

    On a GPU, training repeats itself bit for bit only under
    ``torch.use_deterministic_algorithms(True)``, which is the caller's to set.

    Args:
        module: The module; it is copied and never changed. It is called with a
            batch's inputs, or with its entries by name if they are a mapping.
        loss: A torch loss such as ``torch.nn.functional.cross_entropy``, or any
            function of outputs and targets that gives each sample's loss.
        optimizer: Makes an optimiser for a list of parameters, such as
            ``functools.partial(torch.optim.SGD, lr=0.1)``; called for each proposal.
        train: Arrays or tensors x and y, a dataset of such pairs with ``__len__``,
            or its `DataLoader`, whose batch size, collate function and workers are
            then used, but not its order, ``prefetch_factor`` or ``persistent_workers``.
            A dataset that draws at random repeats itself if it draws from torch, or in
            workers.
        vote: As in `FrameworkLearner`, in any of these forms.
        test: As in `FrameworkLearner`, in any of these forms.
        error: Each sample's error, from outputs and targets, for the ``accuracy``
            policy and for scores; by default what `sample_errors` says.
        scheduler: Makes a learning-rate scheduler for an optimiser; it steps after
            each mini-batch, so not ``ReduceLROnPlateau``.
        max_grad_norm: Length that gradients are clipped to.
        device: Where to compute.
        autocast: The dtype of mixed-precision training, ``torch.bfloat16`` or
            ``torch.float16``; proposals are judged in full precision.
        options: As in `FrameworkLearner`.

    Raises:
        UnsupportedModel: The module cannot learn collectively.
        LearnerError: The samples cannot be learned from.
        ConfigError: An option cannot be used.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        loss: Loss,
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        train: TorchSamples,
        vote: TorchSamples | None = None,
        test: TorchSamples | None = None,
        error: Loss | None = None,
        scheduler: Callable[[Any], torch.optim.lr_scheduler.LRScheduler] | None = None,
        max_grad_norm: float | None = None,
        device: str | torch.device = "cpu",
        autocast: torch.dtype | None = None,
        **options: Unpack[TrainingOptions],
    ) -> None:
        self._device = _device(device)
        self._threads = torch.get_num_threads()
        self._module = copied(module, self._device)
        self._dtype = next(
            (each.dtype for each in self._module.parameters() if each.is_floating_point()),
            torch.float32,
        )
        self._frozen = frozen_digest(frozen(self._module))
        self._loss, self._sample_losses = _losses(loss)
        self._sample_errors = error
        self._make_optimizer, self._make_scheduler = optimizer, scheduler
        self._optimizer: Any = None
        self._scheduler: Any = None
        self._max_grad_norm, self._autocast = max_grad_norm, autocast
        if isinstance(train, DataLoader) and train.batch_size is not None:
            options.setdefault("batch_size", train.batch_size)
        super().__init__(train=train, vote=vote, test=test, **options)  # type: ignore[arg-type]
        self._try_out()

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of the trained parameters and the buffers."""
        tensors = {
            name: np.array(view(tensor.detach().cpu()), order="C")
            for name, tensor in travelling(self._module).items()
        }
        if self._frozen is not None:
            tensors[FROZEN] = self._frozen.copy()
        return tensors

    def load(self, tensors: Tensors) -> None:
        """Copy the tensors into the module's own."""
        for name, own in travelling(self._module).items():
            write(own.detach(), tensors[name])

    def check(self, tensors: Tensors) -> None:
        """Raise `SchemaMismatch`, or `UnusableWeights` if they go with other frozen values."""
        super().check(tensors)
        check_frozen(tensors, self._frozen)

    def train(
        self, tensors: Tensors, rng: np.random.Generator, plan: NoisySteps | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Return new tensors, trained from those given: a pure function with the data."""
        with self._training(rng):
            return super().train(tensors, rng, plan)

    @contextmanager
    def _training(self, rng: np.random.Generator) -> Iterator[None]:
        """Let torch draw from this generator alone, and forget the training afterwards."""
        gpus = [self._device] if self._device.type == "cuda" else []
        with _RANDOM, torch.random.fork_rng(gpus), _threads(self._threads):
            torch.manual_seed(int(rng.integers(2**63)))
            try:
                yield
            except ColearnError:
                raise
            except Exception as reason:
                raise LearnerError(f"training failed: {one_line(reason)}") from reason
            finally:
                self._forget_training()

    def begin(self, rng: np.random.Generator) -> None:  # noqa: ARG002 - torch is seeded already
        """Make a fresh optimiser and scheduler."""
        self._module.train()
        self._trained = trained(self._module)
        self._optimizer = self._make_optimizer(list(self._trained.values()))
        self._scheduler = self._make_scheduler(self._optimizer) if self._make_scheduler else None
        halves = self._autocast is torch.float16
        self._scaler = torch.amp.GradScaler(self._device.type) if halves else None

    def step(self, x: Any, y: Any) -> None:
        """Train on one mini-batch."""
        x, y = moved((x, y), self._device, self._dtype)
        if self._scaler is None:
            self._optimizer.step(partial(self._backward, x, y))
        else:
            self._backward(x, y)
            self._scaler.step(self._optimizer)
            self._scaler.update()
        if self._scheduler is not None:
            self._scheduler.step()

    def no_private_training(self) -> str | None:
        """Why this module cannot be trained privately; None if it can."""
        from colearn.learners import torch_private  # noqa: PLC0415 - for who asks for privacy

        for name, given in (("max_grad_norm", self._max_grad_norm), ("autocast", self._autocast)):
            if given is not None:
                return f"not yet with {name}: leave it out, gradients are clipped one by one"
        rng = np.random.default_rng()
        with self._training(rng):
            self.begin(rng)
            if reason := torch_private.refusal(self._module, self._optimizer):
                return reason
            try:
                self._gradients = torch_private.judged(
                    self._module,
                    self._trained,
                    self._loss,
                    self._sample_losses,
                    batch_size=self.batch_size,
                    some=moved(self.few(torch_private.SAMPLES), self._device, self._dtype),
                )
            except UnsupportedModel as error:
                return one_line(error)
        return None

    def noisy_step(self, x: Any, y: Any, plan: NoisySteps, rng: np.random.Generator) -> None:
        """Train on a batch of any size, 0 too, by clipped and noisy gradients."""
        from colearn.learners import torch_private  # noqa: PLC0415 - for who asks for privacy

        x, y = moved((x, y), self._device, self._dtype)
        torch_private.noisy_gradients(self._gradients, x, y, plan, rng)
        self._optimizer.step()
        if self._scheduler is not None:
            self._scheduler.step()

    def marked(self, samples: Samples, rows: NDArray[np.intp], value: float) -> Samples:
        """Return samples whose inputs in some rows are all this value, or a large one for NaN.

        Over NaN a GPU's kernel may end the process, as that of ``binary_cross_entropy`` does.
        """
        if self._device.type != "cpu":
            value = float(np.nan_to_num(value, nan=1e30))
        return super().marked(samples, rows, value)

    def set_offset(self, offset: Tensors | None) -> None:
        """Add these to the trained parameters after each step; statistics are left alone."""
        super().set_offset(offset)
        if self.offset is not None:
            own = trained(self._module)
            self.offset = {name: self.offset[name] for name in own if name in self.offset}
            self._changes = {
                name: write(torch.empty_like(own[name]).detach(), change)
                for name, change in self.offset.items()
            }

    @torch.no_grad()
    def shift(self, offset: Tensors) -> None:
        """Add the offset that was set, in place."""
        for name in offset:
            self._trained[name].add_(self._changes[name])

    def losses(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Each sample's loss; where it has many targets, their mean."""
        return _judged(self._predictions(x, y), self._sample_losses)

    def errors(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Each sample's error."""
        return _judged(self._predictions(x, y), self._sample_errors or sample_errors)

    def score(self, x: Any, y: Any) -> float:
        """Return 1 − the mean error: the share of labels that are right; or R² of numbers."""
        judged = list(self._predictions(x, y))
        if self._sample_errors is not None or not judged[0][1].is_floating_point():
            return 1.0 - float(_judged(judged, self._sample_errors or sample_errors).mean())
        predicted, true = (
            torch.cat([part.double().flatten() for part in parts]).cpu().numpy()
            for parts in zip(*judged, strict=True)
        )
        return r_squared(predicted, true)

    def native(self) -> nn.Module:
        """Return a copy of the module, ready to predict."""
        return copy.deepcopy(self._module).eval()

    def onnx(self) -> bytes:
        """Return the module as ONNX, traced with two vote samples."""
        from colearn.learners.onnx import from_torch  # noqa: PLC0415 - needs another extra

        x, _ = next(batches_in_order(*self.vote_samples, 2))
        return from_torch(self.native(), moved(x, self._device, self._dtype))

    def _backward(self, x: Any, y: Any) -> Any:
        """Leave the gradients of a mini-batch's loss in the parameters."""
        self._optimizer.zero_grad()
        with self._casting():
            loss = self._loss(_applied(self._module, x), y)
        scaler = self._scaler
        (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        if self._max_grad_norm is not None:
            if scaler is not None:
                scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._trained.values(), self._max_grad_norm)
        return loss

    def _forget_training(self) -> None:
        """Let go of gradients and of the optimiser's memory."""
        self._module.zero_grad()
        self._optimizer = self._scheduler = None

    def _casting(self) -> AbstractContextManager[Any]:
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(self._device.type, self._autocast)

    @torch.inference_mode()
    def _predictions(self, x: Any, y: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the working model's outputs and the targets, part by part."""
        self._module.eval()
        for part in batches_in_order(x, y, _JUDGED_AT_ONCE * self.batch_size):
            inputs, targets = moved(part, self._device, self._dtype)
            yield _applied(self._module, inputs), targets

    def _try_out(self) -> None:
        """Raise now what would otherwise go wrong in the first round."""
        try:
            self.begin(np.random.default_rng())
        except Exception as reason:
            raise ConfigError(
                f"no optimiser or scheduler can be made: {one_line(reason)}; "
                "give functions such as functools.partial(torch.optim.SGD, lr=0.1)"
            ) from reason
        else:
            self._check_fits_together()
        finally:
            self._forget_training()
        few = self.take(self.vote_samples, np.arange(min(2, len(self.vote_samples[0]))))
        try:
            self.losses(*few)
            self.errors(*few)
        except LearnerError:
            raise
        except Exception as reason:
            raise LearnerError(
                f"the module cannot be judged on vote samples: {one_line(reason)}; "
                "module, loss and samples must fit together"
            ) from reason

    def _check_fits_together(self) -> None:
        """Raise `ConfigError` where optimiser or scheduler ask for what a step does not give."""
        if isinstance(self._scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ConfigError(
                "the scheduler ReduceLROnPlateau is refused: it goes by a loss on other samples, "
                "and none is measured in training; take one that goes by steps, such as StepLR"
            )
        if self._scaler is not None and isinstance(self._optimizer, torch.optim.LBFGS):
            raise ConfigError(
                "LBFGS with autocast=torch.float16 is refused: it asks for several losses a step, "
                "and they are scaled for one; take autocast=torch.bfloat16, or SGD or Adam"
            )


def _judged(
    judged: Iterable[tuple[torch.Tensor, torch.Tensor]], judge: Loss
) -> NDArray[np.float64]:
    """Judge outputs by their targets: a number for each sample."""
    parts = [judge(outputs, targets) for outputs, targets in judged]
    if not all(part.ndim for part in parts):
        raise LearnerError(
            "the loss or error of several samples is a single number: "
            "it must give one for each, shape (n,)"
        )
    flat = [part.double().reshape(len(part), -1).mean(1) for part in parts]
    values: NDArray[np.float64] = torch.cat(flat).cpu().numpy()
    return values


def sample_errors(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 where a label is not the one guessed, else 0; the absolute error of numbers.

    Labels are int64; outputs then hold the classes' scores along axis 1, or, with as
    many axes as the labels, one score that is above 0 for label 1.
    """
    if targets.is_floating_point():
        return (outputs.reshape(targets.shape) - targets).abs()
    if outputs.ndim == targets.ndim:
        guesses, sure = (outputs > 0).long(), outputs.isfinite()
    else:
        guesses, sure = outputs.argmax(1), outputs.isfinite().all(1)
    return ((guesses != targets) | ~sure).double()


def _losses(loss: Loss) -> tuple[Loss, Loss]:
    """Return the loss to train by, and the one that judges samples one by one."""
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        each: Any = copy.deepcopy(loss)
        each.reduction = "none"
        return loss, each
    if not callable(loss):
        raise ConfigError(
            f"loss {loss!r:.60} is refused: give a torch loss such as "
            "torch.nn.functional.cross_entropy, or a function of outputs and targets"
        )
    if "reduction" in inspect.signature(loss).parameters:
        return loss, partial(loss, reduction="none")
    return lambda outputs, targets: loss(outputs, targets).mean(), loss


def _device(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError as reason:
        raise ConfigError(f"device {device!r} is refused: {one_line(reason):.80}") from None


def _applied(module: nn.Module, x: Any) -> Any:
    return module(**x) if isinstance(x, Mapping) else module(x)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use as many threads whoever calls it: other numbers give other last bits."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
