"""Sizes and shares of a run: one frozen dataclass and a few named presets."""

from dataclasses import asdict, dataclass, field, replace

from pyramid.errors import InputError
from pyramid.masks import MaskShares


@dataclass(frozen=True)
class Preset:
    """Everything that fixes the networks and the training of one model."""

    name: str
    image_size: int  # pixels: 32, 64 or 128
    data: str = ""  # dataset it is trained on unless another is given
    classifier_width: float = 0.25  # factor on VGG-16's channels
    judge_base: int = 24  # channels of the judge's first stage
    global_z: int = 128  # numbers of z that concern the whole image; noise maps come on top
    # channels of the generator from the 1x1 end on: vector, then 2x2 (or 1x1 at 32 px) up to full size
    generator_channels: tuple[int, ...] = (192, 192, 256, 256, 160, 80, 32)
    # channels of the pixel discriminator: at half size after pixel_unshuffle, then per halving down to 4x4
    discriminator_channels: tuple[int, ...] = (64, 128, 224, 256)
    spectral_generator: bool = True  # spectral norm in the generator too, as in SAGAN
    heads: str = "imagenet"  # features the discriminator's heads read: full ImageNet VGG-16, or "classifier"
    head_channels: int = 64  # of each feature head
    attention_side: int = 16  # side of the map with self-attention, in generator and discriminator

    batch: int = 32  # generated images a step: batch / 2 references, two z for each
    learning_rate: float = 1.5e-4  # of the generator, Adam with betas (0, 0.99)
    discriminator_rate: float = 4e-4  # of the discriminator
    final_share: float = 0.25  # of both rates, reached at `images` by a cosine, then held
    images: int = 460_000  # generated images over which the rates fall
    adversarial: str = "hinge"  # or "least_squares", the paper's, or "none"
    head_weight: float = 2.0  # of the feature heads, beside the pixel discriminator's 1
    r1_weight: float = 0.01  # gamma of the R1 penalty on the pixel discriminator
    r1_every: int = 16  # steps between R1 penalties (lazy regularisation)
    # weight of the reconstruction at each level: the paper's alpha = 0.1, made level by level (ours)
    reconstruction: tuple[float, ...] = (8.0, 6.0, 4.0, 3.0, 8.0, 5.0, 1.0)
    diversity: tuple[float, ...] = (0.0, 0.0, 0.0, 0.1, 0.6, 0.3, 0.5, 0.5, 0.1)  # beta, levels, closed, several
    fixed_pattern: float = 40.0  # weight of the fine detail common to images of one class and level (ours)
    # weight of finding the reference among other photographs, level by level (ours)
    retrieval: tuple[float, ...] = (0.0, 0.0, 2.4, 1.2, 9.6, 28.8, 1.2)
    part: float = 5.0  # factor on the reconstruction weights for the part that is composed in, by itself (ours)
    other_label: float = 8.0  # weight, under another label, of the classifier naming it (ours)
    other_layout: float = 16.0  # weight, under another label, of the reference's edges staying (ours)
    ema_half_life: int = 8_000  # generated images after which a weight counts half in the average
    shares: MaskShares = field(
        default_factory=lambda: MaskShares(closed=0.07, levels=(0.06, 0.06, 0.11, 0.13, 0.18, 0.32, 0.14))
    )
    shift: float = 1 / 8  # augmentation: each image moved by up to this share of its side
    relabel_strength: float = 0.8  # of editing.relabel unless told otherwise, chosen on held-out training pictures

    @property
    def head_width(self) -> float:
        """Width of the VGG-16 that the feature heads read."""
        return 1.0 if self.heads == "imagenet" else self.classifier_width

    def asdict(self) -> dict:
        return asdict(self)


def from_dict(values: dict) -> Preset:
    """The preset a card or checkpoint stores."""
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    shares = {name: tuple(v) if isinstance(v, list) else v for name, v in values.pop("shares").items()}
    return Preset(**values, shares=MaskShares(**shares))


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "photos64",
            64,
            fixed_pattern=100.0,
            relabel_strength=0.82,
            diversity=(0.0, 0.0, 0.0, 0.1, 0.6, 0.15, 0.5, 0.5, 0.1),
            retrieval=(0.0, 0.0, 2.4, 1.2, 9.6, 50.0, 1.2),
            part=6.0,
            shares=MaskShares(closed=0.07, levels=(0.05, 0.05, 0.09, 0.10, 0.15, 0.34, 0.22)),
        ),
        Preset(
            "scenes64",
            64,
            data="scenes",
            spectral_generator=False,
            generator_channels=(128, 128, 192, 192, 128, 64, 32),
            discriminator_channels=(48, 96, 160, 192),
            heads="classifier",
            head_channels=48,
            learning_rate=3e-4,
            discriminator_rate=3e-4,
            images=150_000,
            r1_weight=0.2,
            reconstruction=(12.0, 9.0, 7.0, 6.0, 8.0, 5.0, 4.0),
            diversity=(0.0, 0.0, 0.0, 0.1, 0.6, 0.5, 0.5, 0.5, 0.1),
            retrieval=(0.0, 0.0, 2.4, 1.2, 3.6, 12.0, 9.6),
            shares=MaskShares(closed=0.06, levels=(0.10, 0.12, 0.12, 0.14, 0.16, 0.16, 0.20)),
            relabel_strength=0.76,
        ),
        Preset(
            "scenes32",
            32,
            data="scenes",
            spectral_generator=False,
            judge_base=16,
            global_z=64,
            generator_channels=(128, 128, 160, 160, 128, 72, 32),
            discriminator_channels=(48, 96, 128),
            heads="classifier",
            head_channels=32,
            attention_side=8,
            learning_rate=4e-4,
            discriminator_rate=3e-4,
            images=90_000,
            r1_weight=0.2,
            reconstruction=(12.0, 9.0, 7.0, 6.0, 6.0, 4.0, 3.0),
            # ten minutes are for the pyramid itself: no composed parts, no losses of another label
            diversity=(0.0, 0.0, 0.0, 0.1, 1.0, 1.0, 0.5, 0.5, 0.1),
            fixed_pattern=10.0,
            retrieval=(0.0, 0.0, 0.0, 0.0, 1.6, 1.6, 0.0),
            part=0.0,
            other_label=0.0,
            other_layout=0.0,
            shares=MaskShares(closed=0.07, compose=0.0, levels=(0.10, 0.10, 0.10, 0.14, 0.16, 0.16, 0.24)),
            ema_half_life=2_000,
        ),
        Preset(
            "tiny32",
            32,
            classifier_width=0.0625,
            judge_base=8,
            global_z=16,
            generator_channels=(32, 32, 32, 32, 24, 16, 8),
            discriminator_channels=(16, 24, 32),
            heads="classifier",
            head_channels=8,
            attention_side=8,
            batch=8,
            images=10_000,
        ),
    )
}


WITHOUT = {  # what a run can leave out, and what becomes of the preset
    "adversarial": {"adversarial": "none", "head_weight": 0.0, "r1_weight": 0.0},
    "reconstruction": {"reconstruction": (0.0,) * 7, "retrieval": (0.0,) * 7},
    "diversity": {"diversity": (0.0,) * 9},
    "fixed-pattern": {"fixed_pattern": 0.0},
    "heads": {"head_weight": 0.0},
}


def without(preset: Preset, part: str) -> Preset:
    """The preset with one loss left out (a key of WITHOUT), to see what it was good for."""
    return replace(preset, name=f"{preset.name}-without-{part}", **WITHOUT[part])


def get_preset(name: str) -> Preset:
    if name not in PRESETS:
        raise InputError(f"There is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
