"""Training the feature pyramid's classifier and the judge on labelled images.

Plain supervised learning with one cycle of the learning rate (Smith & Topin 2018). Now and then an
image is shown grey, posterised or as an edge drawing, so that drawings are not foreign to the
classifier when they later serve as references (paper, section 4: unnatural references).
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from pyramid.checkpoints import load_state, save_state
from pyramid.classifier import Classifier, normalise
from pyramid.data import Photos, draw_edges, flip, from_bytes, posterise, shift, to_grey
from pyramid.device import autocast, seeded

BATCH = 64
PEAK_RATE = 2e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
DRAWN_SHARE = 0.08  # each of grey, posterised and edge-drawn
SHIFT = 1 / 8  # of the side, at most, each way


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 (B, 3, H, W) -> float in [-1, 1], each image flipped, shifted and sometimes drawn by its own draw."""
    batch, reach = len(pixels), int(pixels.shape[-1] * SHIFT)
    down, right = torch.randint(-reach, reach + 1, (2, batch), generator=generator).to(pixels.device)
    kind = torch.rand(batch, generator=generator).to(pixels.device)
    mirrored = (torch.rand(batch, generator=generator) < 0.5).to(pixels.device)
    images = from_bytes(flip(shift(pixels, down, right), mirrored))
    for i, change in enumerate((to_grey, posterise, draw_edges)):
        chosen = (kind >= i * DRAWN_SHARE) & (kind < (i + 1) * DRAWN_SHARE)
        if chosen.any():
            images[chosen] = change(images[chosen])
    return images


@torch.no_grad()
def accuracy(model: nn.Module, photos: Photos, batch: int = 256) -> float:
    """Share of photographs whose label the model names."""
    model.eval()
    right = 0
    for i in range(0, len(photos), batch):
        logits = model(from_bytes(photos.images[i : i + batch]))
        right += int((logits.argmax(1) == photos.labels[i : i + batch]).sum())
    return right / len(photos)


def train_supervised(
    model: nn.Module, photos: Photos, checkpoint: Path, epochs: int, seed: int = 0, progress: bool = True
) -> float:
    """Train a classifier or judge on nine tenths of `photos`; returns the accuracy on the held-out tenth.

    The state is saved after every epoch and a run that was cut short goes on from there; the order and
    augmentation of epoch e come from (seed, e) alone. A classifier also gets its `level_std` measured.

    Where the photos have attributes, a linear layer on the classifier's fc7, thrown away afterwards, has to
    tell them too: when the label alone is easy, fc7 would otherwise forget everything else (neural
    collapse, Papyan et al. 2020), and no image could be made of it.
    """
    training, held_out = photos.part(held_out=False), photos.part(held_out=True)
    device = photos.images.device
    networks = nn.ModuleDict({"model": model.to(device, memory_format=torch.channels_last)})
    if isinstance(model, Classifier) and training.attributes is not None:
        with seeded(seed):
            networks["tell"] = nn.Linear(model.classifier[-1].in_features, training.attributes.shape[1]).to(device)
    optimiser = torch.optim.AdamW(networks.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=PEAK_RATE, total_steps=max(epochs * (len(training) // BATCH), 2), pct_start=0.2
    )
    parts = {"networks": networks, "optimiser": optimiser, "schedule": schedule}
    first, score = 0, 0.0
    if checkpoint.is_file():
        state = load_state(checkpoint)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        first, score = state["epoch"], state["accuracy"]
    for epoch in range(first, epochs):
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        bar = tqdm(desc=f"epoch {epoch + 1}/{epochs}", unit="batch", disable=not progress)
        _train_epoch(networks, training, optimiser, schedule, generator, bar)
        score = accuracy(model, held_out)
        print(f"epoch {epoch + 1}: accuracy on {len(held_out)} held-out images {score:.1%}", flush=True)
        if isinstance(model, Classifier):
            sample = training.images[torch.randperm(len(training), generator=generator)[:2048].to(device)]
            model.measure_level_std(from_bytes(part) for part in sample.split(256))
        state = {name: part.state_dict() for name, part in parts.items()}
        save_state(checkpoint, state | {"epoch": epoch + 1, "accuracy": score})
    model.eval()
    return score


def _train_epoch(
    networks: nn.ModuleDict, training: Photos, optimiser, schedule, generator: torch.Generator, bar: tqdm
) -> None:
    """Every photograph once, in an order and an augmentation drawn from the generator."""
    model, device = networks["model"], training.images.device
    model.train()
    order = torch.randperm(len(training), generator=generator)
    steps = len(training) // BATCH
    bar.reset(total=steps)
    for chosen in order[: steps * BATCH].to(device).split(BATCH):
        images = augment(training.images[chosen], generator).contiguous(memory_format=torch.channels_last)
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
def familiarity_threshold(model: nn.Module, photos: Photos) -> float:
    """The best class probability that 95 % of these photographs reach; see `SemanticPyramid.is_familiar`."""
    best = [model(from_bytes(part)).softmax(1).amax(1) for part in photos.images.split(256)]
    return float(torch.cat(best).cpu().quantile(0.05))
