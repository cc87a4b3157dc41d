"""Training the feature pyramid's classifier and the judge on labelled images.

Plain supervised learning with one cycle of the learning rate (Smith & Topin 2018). Now and then an
image is shown grey, posterised or as an edge drawing, so that drawings are not foreign to the
classifier when they later serve as references (paper, section 4: unnatural references); grey rarely, since a
classifier that never needs colour forgets it, and no image could be made of it.

A classifier with ImageNet's convolutions begins otherwise: `train_head` fits its fully connected layers to what the
convolutions say, in minutes; `train_supervised` at the rate of `FINE_TUNING` then trains everything.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from pyramid.checkpoints import load_state, save_state
from pyramid.classifier import Classifier, normalise
from pyramid.data import Labelled, draw_edges, flip, from_bytes, posterise, shift, to_grey
from pyramid.device import autocast, seeded
from pyramid.errors import InputError
from pyramid.training.health import check_finite

BATCH = 64
CHUNK = 32  # images that are passed at once without training: few enough to stay in a CPU's cache
FROM_RANDOM = 2e-3  # peak learning rate of a slim classifier or a judge, also of one that begins with a release's
FINE_TUNING = 5e-5  # and of VGG-16's own convolutions
HEAD_RATE = 1e-3
HEAD_EPOCHS = 12  # of the fully connected layers alone
HEAD_VIEWS = 2  # augmented copies of each photograph that these are fitted to
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
DRAWN_SHARES = {to_grey: 0.02, posterise: 0.04, draw_edges: 0.08}
SHIFT = 1 / 8  # of the side, at most, each way


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 (B, 3, H, W) -> float in [-1, 1], each image flipped, shifted and sometimes drawn by its own draw."""
    batch, reach = len(pixels), int(pixels.shape[-1] * SHIFT)
    down, right = torch.randint(-reach, reach + 1, (2, batch), generator=generator).to(pixels.device)
    kind = torch.rand(batch, generator=generator).to(pixels.device)
    mirrored = (torch.rand(batch, generator=generator) < 0.5).to(pixels.device)
    images = from_bytes(flip(shift(pixels, down, right), mirrored))
    begin = 0.0
    for change, share in DRAWN_SHARES.items():
        chosen = (kind >= begin) & (kind < begin + share)
        if chosen.any():
            images[chosen] = change(images[chosen])
        begin += share
    return images


def train_head(classifier: Classifier, photos: Labelled, seed: int = 0, progress: bool = True) -> float:
    """Fit the fully connected layers to the convolutions' features of nine tenths of `photos`, and measure `level_std`.

    The convolutions stay as they are: every photograph, or of a set on a disk every known one, passes them HEAD_VIEWS
    times, augmented, and never again.
    Returns the accuracy on the held-out tenth.
    """
    photos.check_trainable()
    training, device = photos.part(held_out=False), photos.device
    classifier.to(device, memory_format=torch.channels_last)
    random = torch.Generator().manual_seed(seed)
    features, labels = _encode_views(classifier, training, random, progress)  # (HEAD_VIEWS * N, D), (HEAD_VIEWS * N,)
    head = classifier.classifier.train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=HEAD_RATE, weight_decay=WEIGHT_DECAY)
    steps = max(HEAD_EPOCHS * math.ceil(len(training.known) / BATCH), 2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=HEAD_RATE, total_steps=steps, pct_start=0.2)
    with seeded(seed):  # dropout
        for _ in tqdm(range(steps), desc="head", unit="batch", disable=not progress):
            chosen = torch.randint(len(labels), (BATCH,), generator=random).to(device)
            loss = F.cross_entropy(head(features[chosen].float()), labels[chosen], label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    classifier.eval()
    _measure_level_std(classifier, training, random)
    return accuracy(classifier, photos.part(held_out=True))


@torch.no_grad()
def _encode_views(
    classifier: Classifier, photos: Labelled, random: torch.Generator, progress: bool
) -> tuple[Tensor, Tensor]:
    """What the fully connected layers read of HEAD_VIEWS augmented copies of each photograph, and the labels."""
    classifier.eval()
    features, labels = [], []
    order = photos.known.split(CHUNK)
    count = HEAD_VIEWS * len(order)
    bar = tqdm(total=count, desc="encoding", unit="batch", disable=not progress)
    for _ in range(HEAD_VIEWS):
        for rows, pixels in zip(order, photos.batches(order), strict=True):
            images = augment(pixels, random).contiguous(memory_format=torch.channels_last)
            with autocast(photos.device):
                conv5 = classifier.pyramid_of_normalised(normalise(images), deepest="conv5")["conv5"]
            features.append(classifier.avgpool(conv5).flatten(1).half())
            labels.append(photos.labels[rows.to(photos.device)])
            bar.update()
    bar.close()
    return torch.cat(features), torch.cat(labels)


def _measure_level_std(classifier: Classifier, training: Labelled, random: torch.Generator) -> None:
    sample = torch.randperm(len(training), generator=random)[:2048]
    classifier.measure_level_std(map(from_bytes, training.batches(sample.split(CHUNK))))


@torch.no_grad()
def accuracy(model: nn.Module, photos: Labelled) -> float:
    """Share of photographs whose label the model names."""
    model.eval()
    right, order = 0, torch.arange(len(photos)).split(CHUNK)
    for pixels, labels in zip(photos.batches(order), photos.labels.split(CHUNK), strict=True):
        right += int((model(from_bytes(pixels)).argmax(1) == labels).sum())
    return right / len(photos)


def train_supervised(
    model: nn.Module,
    photos: Labelled,
    checkpoint: Path,
    epochs: int,
    seed: int = 0,
    progress: bool = True,
    peak_rate: float = FROM_RANDOM,
) -> float:
    """Train a classifier or judge on nine tenths of `photos`; returns the accuracy on the held-out tenth.

    The state is saved after every epoch and a run that was cut short goes on from there; the order, augmentation
    and dropout of epoch e come from (seed, e) alone. A classifier also gets its `level_std` measured.

    Where the photos have attributes, a linear layer on the classifier's fc7, thrown away afterwards, has to
    tell them too: when the label alone is easy, fc7 would otherwise forget everything else (neural
    collapse, Papyan et al. 2020), and no image could be made of it.
    """
    photos.check_trainable()
    training, held_out = photos.part(held_out=False), photos.part(held_out=True)
    device, batch = photos.device, min(BATCH, len(training))
    networks = nn.ModuleDict({"model": model.to(device, memory_format=torch.channels_last)})
    if isinstance(model, Classifier) and training.attributes is not None:
        with seeded(seed):
            networks["tell"] = nn.Linear(model.classifier[-1].in_features, training.attributes.shape[1]).to(device)
    optimiser = torch.optim.AdamW(networks.parameters(), lr=peak_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=peak_rate, total_steps=max(epochs * (len(training) // batch), 2), pct_start=0.2
    )
    parts = {"networks": networks, "optimiser": optimiser, "schedule": schedule}
    made_of = {"data": photos.fingerprint, "epochs": epochs, "seed": seed, "peak_rate": peak_rate}
    first, score = 0, 0.0
    if checkpoint.is_file():
        first, score = _resume(checkpoint, parts, made_of)
    for epoch in range(first, epochs):
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        bar = tqdm(desc=f"epoch {epoch + 1}/{epochs}", unit="batch", disable=not progress)
        with seeded(seed * 100_003 + epoch):  # dropout
            _train_epoch(networks, training, optimiser, schedule, generator, bar)
        score = accuracy(model, held_out)
        print(f"epoch {epoch + 1}: accuracy on {len(held_out)} held-out images {score:.1%}", flush=True)
        if isinstance(model, Classifier):
            _measure_level_std(model, training, generator)
        state = {name: part.state_dict() for name, part in parts.items()}
        check_finite({type(model).__name__.lower(): model}, {}, f"{checkpoint} is as it was.")
        save_state(checkpoint, state | made_of | {"epoch": epoch + 1, "accuracy": score})
    model.eval()
    return score


def _resume(checkpoint: Path, parts: dict, made_of: dict) -> tuple[int, float]:
    """Take up a run where its checkpoint stands: (epochs done, accuracy).

    Raises InputError where it was of other pictures, epochs, rate or seed, or of another network.
    """
    state = load_state(checkpoint, (*parts, *made_of, "epoch", "accuracy"))
    other = [n for n, value in made_of.items() if type(state[n]) is not type(value) or state[n] != value]
    if other:
        raise InputError(
            f"{checkpoint} was begun with another {' and '.join(other)}; go on as it was begun, or give another folder "
            "with --out."
        )
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["epoch"]), float(state["accuracy"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise InputError(f"{checkpoint} is of another network; give another folder with --out.") from None


def _train_epoch(
    networks: nn.ModuleDict, training: Labelled, optimiser, schedule, generator: torch.Generator, bar: tqdm
) -> None:
    """Every photograph once, in an order and an augmentation drawn from the generator."""
    model, device = networks["model"], training.device
    model.train()
    order = torch.randperm(len(training), generator=generator)
    batch = min(BATCH, len(training))
    steps = len(training) // batch
    bar.reset(total=steps)
    chunks = order[: steps * batch].split(batch)
    for rows, pixels in zip(chunks, training.batches(chunks), strict=True):
        chosen = rows.to(device)
        images = augment(pixels, generator).contiguous(memory_format=torch.channels_last)
        with autocast(device):
            if "tell" in networks:
                features = model.pyramid_of_normalised(normalise(images))
                logits, told = features["fc8"], networks["tell"](features["fc7"])
            else:
                logits = model(images)
        loss = F.cross_entropy(logits.float(), training.labels[chosen], label_smoothing=LABEL_SMOOTHING)
        if "tell" in networks:
            every = training.attributes
            wanted = (every[chosen] - every.mean(0)) / every.std(0).clamp(min=1e-3)
            loss = loss + F.mse_loss(told.float(), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if bar.n % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.2f}")
        bar.update()
    bar.close()


@torch.no_grad()
def familiarity_threshold(model: nn.Module, photos: Labelled) -> float:
    """The best class probability that 95 % of these photographs reach; see `SemanticPyramid.is_familiar`."""
    parts = photos.batches(torch.arange(len(photos)).split(CHUNK))
    best = [model(from_bytes(part)).softmax(1).amax(1) for part in parts]
    return float(torch.cat(best).cpu().quantile(0.05))
