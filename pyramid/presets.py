"""Sizes, weights and shares of a run: one frozen dataclass and a few named presets."""

from dataclasses import MISSING, asdict, dataclass, field, fields, replace

from pyramid.errors import InputError
from pyramid.levels import CHANNELS, FC_UNITS, shapes


@dataclass(frozen=True)
class MaskShares:
    """How training masks are drawn. Shares are of all samples; each sample makes its own draw."""

    region: float = 0.30  # type 2 of the paper: one level everywhere, finer ones outside a region (reported)
    closed: float = 0.05  # ours: everything closed, the class-only baseline
    several: float = 0.10  # ours: amounts from U(0, 1) for a level and, each at 0.4, the others, for the sliders
    relabel: float = 0.14  # ours: of samples whose finest open level is conv3 or deeper, given another label
    compose: float = 0.6  # ours: of the type 2 samples with conv3, conv4 or conv5 drawn, another photograph's inside
    levels: tuple[float, ...] = (1, 1, 1, 1, 1, 1, 1)  # weight of each level in types 1 and 2 (paper: uniform)


@dataclass(frozen=True)
class Preset:
    """Everything that fixes the networks and the training of one model."""

    name: str
    image_size: int  # pixels: 32, 64, 128 or 256
    data: str = ""  # dataset it is trained on unless another is given
    classifier_channels: tuple[int, ...] = CHANNELS  # of conv1 … conv5: VGG-16's own
    classifier_units: int = 1024  # of fc6 and fc7; 4,096 in VGG-16
    classifier_batch_norm: bool = False
    classifier_grid: int = 0  # side of the map that fc6 reads, 7 in torchvision's VGG-16; 0: conv5's own
    classifier_kept: int = 0  # stages from conv1 on that are photos64's and stay so
    judge_base: int = 24  # channels of the judge's first stage
    global_z: int = 128  # numbers of z that concern the whole image; noise maps come on top
    # channels of the generator from the 1x1 end on: vector, then 2x2 (or 1x1 at 32 px) up to full size
    generator_channels: tuple[int, ...] = (192, 192, 256, 256, 160, 80, 32)
    # channels of the pixel discriminator: at half size after pixel_unshuffle, then per halving down to 4x4
    discriminator_channels: tuple[int, ...] = (64, 128, 224, 256)
    head_channels: int = 64  # of each feature head
    attention_side: int = 16  # side of the map with self-attention, in generator and discriminator

    batch: int = 32  # generated images a step: batch / 2 references, two z for each
    learning_rate: float = 4e-4  # of the generator, Adam with betas (0, 0.99)
    discriminator_rate: float = 3e-4  # of the discriminator
    final_lr_factor: float = 0.1  # of both rates, reached at `images` by a cosine, then held
    images: int = 160_000  # generated images over which the rates fall

    # Weights of the terms of the objective, each under the term's name (TERMS); 0 leaves a term out. Weights of a
    # level are in the order of LEVELS; those of the diversity are followed by "all closed" and "several levels".
    adversarial: float = 1.0  # of the pixel discriminator
    game: str = "hinge"  # that it plays: "hinge", or the paper's "least_squares"
    heads: float = 2.0  # of the feature heads
    #: what the discriminator is told, beside the label, of which level was open: nothing, "paired" or "summed", see
    #: `discriminator.Projection`
    told_level: str = ""
    r1: float = 0.02  # gamma of the penalty on the pixel discriminator, gamma / 2 E |grad D|^2
    r1_every: int = 16  # steps between penalties (lazy regularisation), each so many times as heavy
    reconstruction: tuple[float, ...] = (8.0, 8.0, 4.0, 1.0, 0.5, 0.3, 0.3)  # the paper's alpha, level by level (ours)
    diversity: tuple[float, ...] = (0.0, 0.0, 0.0, 0.1, 1.0, 1.0, 0.5, 0.5, 0.1)  # the paper's beta, likewise
    fixed_pattern: float = 10.0
    retrieval: tuple[float, ...] = (0.0,) * 7
    retrieval_temperature: tuple[float, ...] = (0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.1)  # of the cosines
    other_label: float = 0.0
    other_layout: float = 4.0
    late: tuple[float, float] = (0.25, 0.5)  # shares of `images` over which the terms of LATE come in, linearly
    relabelled_scale: float = 0.5  # factor on reconstruction and retrieval of a sample under another label

    #: generated images after which a weight counts half in the average, once twenty times as many have been seen
    ema_half_life: int = 10_000
    #: how masks are drawn
    shares: MaskShares = field(
        default_factory=lambda: MaskShares(closed=0.06, levels=(0.08, 0.15, 0.15, 0.14, 0.15, 0.13, 0.20))
    )
    shift: float = 1 / 8  # augmentation: each image moved by up to this share of its side
    relabel_strength: float = 0.8  # of editing.relabel unless told otherwise, chosen on held-out training pictures

    @property
    def classifier(self) -> dict:
        """Sizes of the classifier, as `Classifier` takes them."""
        return {
            "image_size": self.image_size,
            "channels": self.classifier_channels,
            "units": self.classifier_units,
            "batch_norm": self.classifier_batch_norm,
            "grid": self.classifier_grid,
            "kept": self.classifier_kept,
        }

    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Shape of every level's features, see `levels.shapes`."""
        return shapes(self.image_size, self.classifier_channels, self.classifier_units, classes)

    def asdict(self) -> dict:
        return asdict(self)


def from_dict(values: dict) -> Preset:
    """The preset a card or checkpoint stores. Raises InputError where its fields are not those that there are."""
    try:
        stored = _tuples(values, Preset) | {"shares": MaskShares(**_tuples(values["shares"], MaskShares))}
        return Preset(**stored)
    except (TypeError, KeyError, AttributeError) as error:
        name = values.get("name") if isinstance(values, dict) else values
        raise InputError(
            f"The preset {str(name)[:40]!r} was stored by another version of this project ({error}); "
            "train the model again, or use that version."
        ) from None


def _tuples(values: dict, kind: type) -> dict:
    """Values as JSON knows them, as the fields of a dataclass: lists as tuples. Raises TypeError for another type."""
    table = {}
    for name, value in values.items():
        default = next((f for f in fields(kind) if f.name == name), None)
        like = default.default if default and default.default is not MISSING else None
        if isinstance(like, tuple):
            if not isinstance(value, list | tuple) or not all(isinstance(v, int | float) for v in value):
                raise TypeError(f"{name} is no list of numbers")
            value = tuple(value)
        elif isinstance(like, bool | str | int | float):
            number = isinstance(like, float) and type(value) is int
            if not (number or type(value) is type(like)):
                raise TypeError(f"{name} is of another type")
        table[name] = value
    return table


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "photos64",
            64,
            generator_channels=(256, 256, 320, 320, 224, 112, 48),
            discriminator_channels=(96, 192, 288, 320),
            batch=128,
            images=2_000_000,
            retrieval=(0.0, 0.0, 0.0, 0.15, 0.25, 0.25, 0.25),
            # more of conv2, conv3 and conv5, which need it most; conv1 is easy, and fc8 has the label to help
            shares=MaskShares(closed=0.06, levels=(0.06, 0.16, 0.17, 0.14, 0.17, 0.13, 0.17)),
            ema_half_life=20_000,
            relabel_strength=0.86,
        ),
        Preset(
            "photos128",
            128,
            generator_channels=(384, 384, 384, 384, 256, 128, 64),
            discriminator_channels=(64, 128, 256, 384, 384),
            attention_side=32,
            batch=64,
            images=1_500_000,
        ),
        Preset(  # the paper's scale; what it leaves open is ours, see docs/replication.md
            "paper256",
            256,
            data="places365",
            classifier_units=FC_UNITS,
            classifier_grid=7,
            judge_base=48,
            generator_channels=(1024, 512, 512, 512, 256, 128, 64),
            discriminator_channels=(64, 128, 256, 512, 512, 512),
            attention_side=32,
            batch=256,
            images=36_000_000,  # every photograph ten times, two images each
            shares=MaskShares(),
        ),
        Preset(
            "photos32",
            32,
            global_z=64,
            generator_channels=(128, 128, 160, 160, 128, 72, 32),
            discriminator_channels=(96, 192, 288),
            attention_side=8,
            batch=128,
            images=256_000,
            # told the level, the discriminator keeps each level by itself to the photographs' tones; summed: runs of
            # a quarter of the images saw too few to learn each pair of label and level
            told_level="summed",
            reconstruction=(16.0, 24.0, 24.0, 4.0, 0.5, 0.3, 0.3),
            # with conv4's weight it keeps a label from favourite layouts there, where a picture has 2x2 places
            retrieval=(0.0, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0),
            ema_half_life=20_000,
        ),
        Preset(
            "scenes64",
            64,
            data="scenes",
            # the first stages are photos64's, which heed the hour less than a slim classifier's: so more weight on
            # conv2 and conv3, and a discriminator that knows the level, before which none has one hour for all pictures
            classifier_channels=(64, 128, 256, 128, 128),
            classifier_batch_norm=True,
            classifier_kept=3,
            generator_channels=(128, 128, 192, 192, 128, 64, 32),
            discriminator_channels=(48, 96, 160, 192),
            head_channels=48,
            batch=64,
            images=200_000,
            told_level="paired",
            reconstruction=(8.0, 24.0, 80.0, 4.0, 0.5, 0.3, 0.3),
            retrieval=(0.0, 0.0, 0.0, 0.3, 0.5, 0.5, 0.5),
            other_label=1.0,
            shares=MaskShares(closed=0.06, levels=(0.08, 0.16, 0.20, 0.16, 0.14, 0.12, 0.14)),
            relabel_strength=0.84,
        ),
        Preset(
            "scenes32",
            32,
            data="scenes",
            # a slim classifier, which begins with random weights
            classifier_channels=(32, 64, 96, 128, 128),
            classifier_batch_norm=True,
            judge_base=16,
            global_z=64,
            generator_channels=(128, 128, 160, 160, 128, 72, 32),
            discriminator_channels=(48, 96, 128),
            head_channels=32,
            attention_side=8,
            images=100_000,
            # ten minutes are for the pyramid itself: no composed parts, no losses of another label
            retrieval=(0.0, 0.0, 0.0, 1.0, 1.5, 1.5, 1.5),
            other_layout=0.0,
            shares=MaskShares(closed=0.07, compose=0.0, levels=(0.10, 0.10, 0.10, 0.14, 0.16, 0.16, 0.24)),
            ema_half_life=2_000,
        ),
        Preset(
            "tiny32",
            32,
            classifier_channels=(4, 8, 16, 32, 32),
            classifier_units=256,
            classifier_batch_norm=True,
            judge_base=8,
            global_z=16,
            generator_channels=(32, 32, 32, 32, 24, 16, 8),
            discriminator_channels=(16, 24, 32),
            head_channels=8,
            attention_side=8,
            batch=8,
            images=10_000,
            # for tests: every term, from the first step on
            retrieval=(0.0, 0.0, 2.4, 1.2, 9.6, 28.8, 1.2),
            other_label=8.0,
            late=(0.0, 0.0),
        ),
    )
}
#: scenes64 in the world with people
PRESETS["people64"] = replace(PRESETS["scenes64"], name="people64", data="people")


#: the terms of the objective: losses.py has the paper's, training/extras.py ours
TERMS = (
    "adversarial", "heads", "r1", "reconstruction", "diversity",
    "fixed_pattern", "retrieval", "other_label", "other_layout",
)  # fmt: skip
GOES_WITH = {"adversarial": ("heads", "r1"), "reconstruction": ("retrieval",)}  # what makes no sense without


def without(preset: Preset, term: str) -> Preset:
    """The preset with the weight of one of TERMS, and of what goes with it, at 0: to see what it is good for."""
    nothing = {
        name: (0.0,) * len(weight) if isinstance(weight := getattr(preset, name), tuple) else 0.0
        for name in (term, *GOES_WITH.get(term, ()))
    }
    return replace(preset, name=f"{preset.name}-without-{term}", **nothing)


def get_preset(name: str) -> Preset:
    """A preset by name. Raises InputError, naming those there are."""
    if name not in PRESETS:
        raise InputError(f"There is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
    return PRESETS[name]
