"""The networks that make features, as profiles carry them: torch, without pickle.

`spec` says what a network is, `build` makes one from that, `featurizer` runs it over inputs and
reads and writes its file; each other file is one kind of network. A change to a network's
arithmetic changes statistics: profiles name their networks by hash.
"""

from gamekeeper.detectors.networks.build import Network, OodNetwork, build
from gamekeeper.detectors.networks.classifier import Classifier
from gamekeeper.detectors.networks.encoders import ConvEncoder, MlpEncoder
from gamekeeper.detectors.networks.featurizer import NetworkFeaturizer, dump, load, prepare
from gamekeeper.detectors.networks.gaussian_mixture import GaussianMixture
from gamekeeper.detectors.networks.ood_binary import OUTLIER, OWN
from gamekeeper.detectors.networks.ood_mahalanobis import OodMahalanobis
from gamekeeper.detectors.networks.spec import Bound, parse, plain
from gamekeeper.detectors.networks.vq_vae import VqVae

__all__ = [
    "OUTLIER",
    "OWN",
    "Bound",
    "Classifier",
    "ConvEncoder",
    "GaussianMixture",
    "MlpEncoder",
    "Network",
    "NetworkFeaturizer",
    "OodMahalanobis",
    "OodNetwork",
    "VqVae",
    "build",
    "dump",
    "load",
    "parse",
    "plain",
    "prepare",
]
