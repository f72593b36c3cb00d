"""Which attacks there are; none is imported before it is used."""

from __future__ import annotations

from typing import Final

from gamekeeper.replay.theft import Attack, Listed, resolve

_HERE = "gamekeeper.replay.theft.attacks"

ATTACKS: Final = {
    "tramer": Listed(
        f"{_HERE}.tramer:tramer",
        "Noise, then bisection between noise images to the victim's borders.",
        "Tramer et al. 2016, section 6.1; PRADA version 2, section II-F 1",
    ),
    "tramer-random": Listed(
        f"{_HERE}.tramer_random:tramer_random",
        "Noise only.",
        "Tramer et al. 2016, section 6.1; PRADA version 2, section II-F 1",
    ),
    "tramer-adaptive": Listed(
        f"{_HERE}.tramer_adaptive:tramer_adaptive",
        "Rounds of the noise that the substitute is least sure of.",
        "Tramer et al. 2016, section 6.1; PRADA version 2, section II-F 1",
    ),
    "papernot": Listed(
        f"{_HERE}.papernot:papernot",
        "Jacobian-based augmentation by one FGSM step, with a reservoir.",
        "PRADA version 2, section II-F 2",
    ),
    "n-ifgsm": Listed(
        f"{_HERE}.n_ifgsm:n_ifgsm",
        "Iterated FGSM steps away from the image's own class.",
        "PRADA version 2, sections III-C 1 and IV-D",
    ),
    "t-rnd-fgsm": Listed(
        f"{_HERE}.t_rnd:t_rnd",
        "One FGSM step toward random other classes.",
        "PRADA version 2, sections III-C 1 and IV-D",
        {"steps": 1},
    ),
    "t-rnd-ifgsm": Listed(
        f"{_HERE}.t_rnd:t_rnd",
        "Iterated FGSM steps toward random other classes.",
        "PRADA version 2, sections III-C 1 and IV-D",
    ),
    "color": Listed(
        f"{_HERE}.color:color",
        "Every channel lighter or darker by a random amount.",
        "PRADA version 2, section III-C 2",
    ),
    "augment": Listed(
        f"{_HERE}.augment:augment",
        "Seeds turned, zoomed, shifted and bent at random.",
        "Simard et al. 2003, section 2; Ciresan et al. 2010",
    ),
    "augment-half": Listed(
        f"{_HERE}.augment:augment",
        "As augment, half as far.",
        "as augment",
        {"strength": 0.5},
    ),
    "augment-sorted": Listed(
        f"{_HERE}.augment:augment",
        "As augment, all variants of a seed one after the other.",
        "as augment",
        {"order": "sorted"},
    ),
    "augment-uncertain": Listed(
        f"{_HERE}.augment_uncertain:augment_uncertain",
        "Of many such variants of seeds, those of the highest entropy.",
        "as augment; Pal et al. 2020",
    ),
    "mixup": Listed(
        f"{_HERE}.mixup:mixup",
        "Weighted means of two seeds.",
        "Zhang et al. 2018, section 2",
    ),
    "cutmix": Listed(
        f"{_HERE}.cutmix:cutmix",
        "A rectangle of one seed in another.",
        "Yun et al. 2019, section 3.1",
    ),
    "vae": Listed(
        f"{_HERE}.vae:vae",
        "Samples of a variational auto-encoder that has learnt the pool.",
        "Kingma and Welling 2014",
    ),
    "class-gaussian": Listed(
        f"{_HERE}.class_gaussian:class_gaussian",
        "Samples of a Gaussian for each class of the seeds.",
        "none of the papers",
    ),
    "smoothing": Listed(
        f"{_HERE}.smoothing:smoothing",
        "Three shifted copies of each natural image.",
        "none of the papers",
    ),
    "jb-topk": Listed(
        f"{_HERE}.jb_topk:jb_topk",
        "PGD toward the classes that the substitute finds likeliest.",
        "PRADA version 1, section 3.1",
    ),
    "jb-top3": Listed(
        f"{_HERE}.jb_topk:jb_topk",
        "JB-topk by small steps, with a new substitute each round.",
        "Zhang and Wagner, sections III-A and IV-A 2; Orekondy et al. 2020, their code",
        {"reach": 25.5, "step": 2.55, "steps": 8, "fresh": True},
    ),
    "jb-self": Listed(
        f"{_HERE}.jb_self:jb_self",
        "PGD toward the image's own class.",
        "PRADA version 1, section 3.1",
    ),
    "jba-pgd": Listed(
        f"{_HERE}.jba_pgd:jba_pgd",
        "PGD in a small reach toward the likeliest classes.",
        "Zhang and Wagner, sections III-A and IV-A",
    ),
    "jba-cw": Listed(
        f"{_HERE}.jba_cw:jba_cw",
        "Carlini and Wagner's smallest changes toward the likeliest classes.",
        "Zhang and Wagner, sections III-A and IV-A",
    ),
    "jba-binary-search": Listed(
        f"{_HERE}.jba_binary_search:jba_binary_search",
        "Bisection on the substitute between images and PGD's examples.",
        "Zhang and Wagner, sections III-A 3 and IV-A",
    ),
    "feature-fool": Listed(
        f"{_HERE}.feature_fool:feature_fool",
        "Small changes that give an image another class's features.",
        "Yu et al. 2020; Zhang and Wagner, section III-A 2",
    ),
    "random": Listed(
        f"{_HERE}.random_images:random_images",
        "Random natural images of the pool.",
        "Pal et al. 2020; Zhang and Wagner, section III-C",
    ),
    "copycat": Listed(
        f"{_HERE}.random_images:random_images",
        "CopyCat: to the victim the same as random; the thief trains on labels.",
        "Correia-Silva et al. 2018; Zhang and Wagner, section III-C",
    ),
    "knockoff-random": Listed(
        f"{_HERE}.random_images:random_images",
        "Knockoff Nets, random: as random; the thief trains on probabilities.",
        "Orekondy et al. 2019, section 4.1",
    ),
    "knockoff-adaptive": Listed(
        f"{_HERE}.knockoff_adaptive:knockoff_adaptive",
        "Knockoff Nets, adaptive: a bandit learns which classes of the pool pay.",
        "Orekondy et al. 2019, section 4.1.2; Zhang and Wagner, section III-C",
    ),
    "activethief-uncertainty": Listed(
        f"{_HERE}.active_uncertainty:active_uncertainty",
        "ActiveThief: natural images of the highest entropy.",
        "Pal et al. 2020; Zhang and Wagner, section III-C, eq. (5)",
    ),
    "activethief-k-center": Listed(
        f"{_HERE}.active_k_center:active_k_center",
        "ActiveThief: natural images farthest from those asked before.",
        "Pal et al. 2020; Zhang and Wagner, section III-C",
    ),
    "activethief-dfal": Listed(
        f"{_HERE}.active_dfal:active_dfal",
        "ActiveThief: natural images that DeepFool moves least.",
        "Pal et al. 2020; Zhang and Wagner, section III-C",
    ),
    "activethief-dfal-k-center": Listed(
        f"{_HERE}.active_dfal_k_center:active_dfal_k_center",
        "ActiveThief: k-center among the images that DFAL finds.",
        "Pal et al. 2020; Zhang and Wagner, section III-C",
    ),
    "dfme": Listed(
        f"{_HERE}.dfme:dfme",
        "Data-free: a generator's images, with forward differences through the victim.",
        "Truong et al. 2021; Zhang and Wagner, section III-B, eq. (3) and (4)",
    ),
}

FROM_PROBABILITIES: Final = frozenset({"knockoff-random", "knockoff-adaptive", "dfme"})
"""Those whose thief trains on the probabilities; the others' trains on labels."""


def attack(name: str) -> Attack:
    """Import an attack; raises `UnknownNameError`."""
    return resolve(ATTACKS, name, "attack")
