"""Toy BAGELs for the tests of this folder."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from unimm.bagel.autoencoder import Autoencoder
from unimm.bagel.config import read_config
from unimm.bagel.model import Bagel

GOLDEN = Path(__file__).parents[2] / "golden" / "bagel"


def other_folder(folder: Path) -> Path:
    """A folder of other depths, heads, widths, patches, latents and table sides, with random weights, and no tables in it."""
    folder.mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(GOLDEN / name, folder / name)
    whole, language, vision = (json.loads((GOLDEN / name).read_text()) for name in ("config.json", "llm_config.json", "vit_config.json"))
    language |= {
        "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 3,
        "vocab_size": 300,
    }  # fmt: skip
    vision |= {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3, "patch_size": 8}
    vae = {"ch": 32, "ch_mult": [1, 2], "num_res_blocks": 2, "z_channels": 3, "scale_factor": 0.5, "shift_factor": 0.1}
    whole |= {"vae_config": vae, "latent_patch_size": 4, "max_latent_size": 6, "vit_max_num_patch_per_side": 7}
    for name, data in (("config.json", whole), ("llm_config.json", language), ("vit_config.json", vision)):
        (folder / name).write_text(json.dumps(data))
    config = read_config(folder)
    torch.manual_seed(5)
    state = {key: value.clone() for key, value in Bagel(config).state_dict().items() if not key.endswith("pos_embed")}
    save_file(state, folder / "ema.safetensors")
    save_file({key: value.clone() for key, value in Autoencoder(config.autoencoder).state_dict().items()}, folder / "ae.safetensors")
    return folder
