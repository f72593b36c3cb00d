"""The learned networks: torch modules built from a plain spec.

Modules take prepared float32 tensors (`featurizer.prepare`), `(n, c, h, w)` or `(n, d)`, and give
`(n, k)` by `features`. Training adds what only it needs, such as an encoder's classifying head,
outside.
"""

from __future__ import annotations

from gamekeeper.detectors.networks.encoders import ConvEncoder, MlpEncoder
from gamekeeper.detectors.networks.gaussian_mixture import GaussianMixture
from gamekeeper.detectors.networks.ood_binary import OodBinary
from gamekeeper.detectors.networks.ood_mahalanobis import OodMahalanobis
from gamekeeper.detectors.networks.ood_msp import OodMsp
from gamekeeper.detectors.networks.ood_odin import OodOdin
from gamekeeper.detectors.networks.spec import (
    BinarySpec,
    ConvEncoderSpec,
    GaussianMixtureSpec,
    MahalanobisSpec,
    MlpEncoderSpec,
    MspSpec,
    OdinSpec,
    Spec,
    VqVaeSpec,
    parse,
)
from gamekeeper.detectors.networks.vq_vae import VqVae

OodNetwork = OodBinary | OodMsp | OodOdin | OodMahalanobis
Network = ConvEncoder | MlpEncoder | VqVae | GaussianMixture | OodNetwork


def build(spec: Spec) -> Network:
    """Build an untrained network, its weights from torch's global generator.

    Raises `ProfileError` where the spec is not one.
    """
    match parse(spec):
        case ConvEncoderSpec() as parsed:
            return ConvEncoder(parsed)
        case MlpEncoderSpec() as parsed:
            return MlpEncoder(parsed)
        case VqVaeSpec() as parsed:
            return VqVae(parsed)
        case GaussianMixtureSpec() as parsed:
            return GaussianMixture(parsed)
        case BinarySpec() as parsed:
            return OodBinary(parsed)
        case MspSpec() as parsed:
            return OodMsp(parsed)
        case OdinSpec() as parsed:
            return OodOdin(parsed)
        case MahalanobisSpec() as parsed:
            return OodMahalanobis(parsed)
