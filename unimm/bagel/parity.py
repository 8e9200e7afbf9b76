"""BAGEL's parity checks: one function per case of a golden folder; sizes and settings come from the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unimm.bagel import flow
from unimm.bagel.context import Context
from unimm.bagel.denoise import Denoiser
from unimm.bagel.flow import MAIN, NO_IMAGE, NO_TEXT, Guidance, Step
from unimm.bagel.generate import SYSTEM
from unimm.bagel.golden import CHECKS, Shared, check, close, rule_of, same
from unimm.bagel.model import encode, latent_grid, vision_patches
from unimm.bagel.mot import Query, Rows
from unimm.bagel.pictures import fold, places, to_image, to_pixels, to_uint8
from unimm.bagel.reader import Said, Segment, Shown
from unimm.parity import EXACT, Case, Suite

BRANCHES = {"": MAIN, "cfg_text_": NO_TEXT, "cfg_img_": NO_IMAGE}
"""How the folder names the branches in front of its tensors."""


@check("vae")
def _vae(shared: Shared, case: Case) -> None:
    vae = shared.checkpoint.autoencoder
    mean, logvar = vae.moments(case["pixels"])
    close(case, "mean", mean)
    close(case, "logvar", logvar)
    close(case, "latent", encode(vae, case["pixels"][0], case["eps"]))
    close(case, "latent_mode", vae.scaled(mean))
    close(case, "decode_out", vae.decode(case["decode_in"]))


@check("latent_tokens")
def _latent_tokens(shared: Shared, case: Case) -> None:
    grid = latent_grid(shared.config, case.parameters["H"], case.parameters["W"])
    close(case, "tokens", fold(case["latent"][0], shared.config.latent_patch))
    close(case, "vae_position_ids", places(grid, shared.config.latent_side))
    close(case, "image_u8", to_uint8(shared.decoded(case["tokens"], grid)))


@check("vit_patch")
def _vit_patch(shared: Shared, case: Case) -> None:
    patch, (_, height, width) = shared.config.vision.patch_size, case["pixels"].shape
    case.compare("tokens", fold(case["pixels"], patch), EXACT)
    case.compare("position_ids", places((height // patch, width // patch), shared.config.patch_side))


@check("timesteps")
def _timesteps(shared: Shared, case: Case) -> None:
    for row in case.parameters["rows"]:
        times, sizes = flow.schedule(row["num_timesteps"], row["shift"])
        same(case, f"euler_steps_{row['index']}", len(times), row["euler_steps"])
        close(case, f"t{row['index']}", times)
        close(case, f"dt{row['index']}", sizes)


@check("time_embed")
def _time_embed(shared: Shared, case: Case) -> None:
    close(case, "sinusoid", shared.bagel.time_embedder.waves(case["t"]))
    close(case, "embed", shared.bagel.time_embedder(case["t"]))


@check("cfg_combine")
def _cfg_combine(shared: Shared, case: Case) -> None:
    velocity = {MAIN: case["v_cond"], NO_TEXT: case["v_text_uncond"], NO_IMAGE: case["v_img_uncond"]}
    for row in case.parameters["rows"]:
        text, image = row["cfg_text_scale"], row["cfg_img_scale"]
        guidance = Guidance(text, image, (0.0, 1.0), row["renorm_type"], row["renorm_min"])
        close(case, row["out"], flow.combine(velocity, guidance, text, image))


@check("resize_rule")
def _resize_rule(shared: Shared, case: Case) -> None:
    for name, table in case.parameters.items():
        if name == "tolerance":
            continue
        vae, vit = rule_of(table["vae"]), rule_of(table["vit"])
        for row in table["rows"]:
            first = vae.size(*row["input"])
            sizes = {"vae": first, "vae_twice": vae.size(*first), "vit": vit.size(*row["input"]), "vit_after_vae": vit.size(*first)}
            for rule, size in sizes.items():
                same(case, f"{name}_{'x'.join(map(str, row['input']))}_{rule}", list(size), row[rule])


@check("resize_pixels")
def _resize_pixels(shared: Shared, case: Case) -> None:
    vae, vit = rule_of(case.parameters["vae_transform"]), rule_of(case.parameters["vit_transform"])
    first = vae.apply(to_image(case["image_u8"]).to_pil())
    for name, picture in (("vae_u8", first), ("vit_u8", vit.apply(first))):
        levels = ((to_pixels(picture) + 1) * 127.5).round().to(torch.uint8)
        close(case, name, levels.permute(1, 2, 0))


def _greedy(shared: Shared, context: Context, limit: int) -> tuple[list[int], list[int], Tensor]:
    """Fed ids and their positions until the model closes its text, and the logits behind each, [n, vocabulary]."""
    marks, ids, positions, logits = shared.checkpoint.words.marks, [], [], []
    for fed in shared.bagel.write(context, marks.text_begin, lambda row: int(row.argmax()), limit):
        if fed.token == marks.text_end:
            break
        ids.append(fed.token)
        positions.append(fed.position)
        logits.append(fed.logits)
    return ids, positions, torch.stack(logits)


def _compare_greedy(shared: Shared, case: Case, context: Context) -> None:
    ids, positions, logits = _greedy(shared, context, case.parameters["max_length"])
    close(case, "greedy_ids", torch.tensor(ids))
    close(case, "greedy_position_ids", torch.tensor(positions))
    close(case, "greedy_logits", logits)
    close(case, "last_predicted_id", logits[-1:].argmax(-1))
    same(case, "text_out", shared.checkpoint.words.decode(ids[1:]), case.parameters["text_out"])


def _compare_cache(case: Case, context: Context, prefix: str = "") -> None:
    for layer in range(context.pieces[0].keys.shape[0]):
        close(case, f"{prefix}k{layer}", context.keys(layer))
        close(case, f"{prefix}v{layer}", context.values(layer))


@check("text", "text_stop")
def _text(shared: Shared, case: Case) -> None:
    ids = shared.checkpoint.words.encode(case.parameters["prompt"])
    close(case, "input_ids", torch.tensor(ids))
    context, rows = shared.bagel.read_words(Context(), ids)
    close(case, "position_ids", torch.arange(context.rope))
    close(case, "hidden", shared.bagel.language_model.normed(rows)["und"])
    close(case, "logits", shared.bagel.logits(rows["und"]))
    _compare_cache(case, context)
    _compare_greedy(shared, case, context)


@check("understand", "understand_think", "understand_two_images")
def _understand(shared: Shared, case: Case) -> None:
    system, segments = _segments(shared, case, understand=True)
    context, lengths, starts, rows = Context(), [], [], None
    for number, segment in enumerate([*([system] if system else []), *segments]):
        before, name = context, f"vit{sum(isinstance(one, Shown) for one in segments[: number - bool(system)])}_"
        if isinstance(segment, Said):
            context, rows = shared.bagel.read_words(before, segment.ids)
        else:
            context, rows = shared.reader.patches(before, segment.image)
            _compare_tower(shared, case, name, segment, before)
            close(case, f"{name}prefill_hidden", shared.bagel.language_model.normed(rows)["und"])
        lengths.append(context.length - before.length)
        starts.append(before.rope)
    close(case, "prefill_lens", torch.tensor(lengths))
    close(case, "prefill_start_positions", torch.tensor(starts))
    close(case, "last_prefill_hidden", shared.bagel.language_model.normed(rows)["und"])
    _compare_cache(case, context)
    same(case, "cached contexts", shared.reader.read(segments, system).main.rope, context.rope)
    _compare_greedy(shared, case, context)


def _compare_tower(shared: Shared, case: Case, name: str, segment: Shown, before: Context) -> None:
    """A picture's patches, features and places in the sequence."""
    config, marks = shared.config, shared.checkpoint.words.marks
    patches, grid = vision_patches(config, config.vae_rule.apply(segment.image.to_pil()))
    close(case, f"{name}patches", patches)
    close(case, f"{name}grid_position_ids", places(grid, config.patch_side))
    features, connected = shared.bagel.seen(patches, places(grid, config.patch_side))
    close(case, f"{name}features", features)
    close(case, f"{name}connector", connected)
    count = len(patches) + 2
    close(case, f"{name}rope_position_ids", torch.full((count,), before.rope))
    close(case, f"{name}packed_indexes", torch.arange(before.length, before.length + count))
    close(case, f"{name}token_indexes", torch.arange(1, count - 1))
    close(case, f"{name}text_ids", torch.tensor([marks.image_begin, marks.image_end]))
    close(case, f"{name}text_indexes", torch.tensor([0, count - 1]))


def _segments(shared: Shared, case: Case, understand: bool) -> tuple[Said | None, list[Segment]]:
    """A case's system text and segments, made from its words and pictures; ids are held against the folder's."""
    rows, words, segments = list(case.parameters["segments"]), shared.checkpoint.words, []
    for row in rows:
        if "image" in row:
            image = to_image(case[f"image{row['image']}_u8"])
            segments.append(Shown(image, None if understand else case[f"vae{row['image']}_eps"]))
        else:
            segments.append(Said(tuple(words.encode(row["text"]))))
            same(case, f"ids of {row['text'][:12]!r}", list(segments[-1].ids), row["ids"])
    if not case.parameters.get("think"):
        return None, segments
    same(case, "system text", rows[0]["text"], SYSTEM["text" if understand else "image"])
    return segments[0], segments[1:]


@check(
    "t2i_nocfg", "t2i_global", "t2i_app_default", "t2i_channel", "t2i_think", "t2i_taylorseer", "edit_text_channel", "edit_channel",
    "edit_global", "edit_think", "interleave_gen",
)  # fmt: skip
def _draw(shared: Shared, case: Case) -> None:
    system, segments = _segments(shared, case, understand=False)
    _compare_pictures(shared, case, segments, shared.reader.say(Context(), system) if system else Context())
    reading = shared.reader.read(segments, system)
    if case.parameters.get("think"):
        words = shared.checkpoint.words
        ids, _, _ = _greedy(shared, reading.main, case.parameters["max_think_token_n"])
        close(case, "think_ids", torch.tensor(ids))
        again = words.encode(words.decode(ids[1:]), own=True)
        close(case, "think_reencoded_ids", torch.tensor(again))
        same(case, "think_text", words.decode(ids[1:]), case.parameters["think_text"])
        reading = shared.reader.with_thought(reading, Said(tuple(again)))
    for name, branch in {"cond": MAIN, "cfg_text": NO_TEXT, "cfg_img": NO_IMAGE}.items():
        context = reading.contexts[branch]
        same(case, f"context {name}", {"kv_len": context.length, "rope": context.rope}, case.parameters["contexts"][name])
    height, width = reading.size or case.parameters["image_shapes"]
    same(case, "output size", [height, width], case.parameters["output_size_hw"])
    grid = latent_grid(shared.config, height, width)
    denoiser = Denoiser(shared.bagel, reading.contexts, grid, shared.checkpoint.words.marks)
    _compare_query(shared, case, denoiser)
    steps = list(_steps(case, denoiser))
    _compare_steps(case, steps)
    decoded = shared.decoded(steps[-1].x, grid)
    close(case, "decoded", decoded if "decoded" not in case or case["decoded"].dim() == 4 else decoded[0])
    close(case, "image_out_u8", to_uint8(decoded))


def _steps(case: Case, denoiser: Denoiser) -> Sequence[Step]:
    row = case.parameters
    guidance = Guidance(
        row["cfg_text_scale"], row["cfg_img_scale"], tuple(row["cfg_interval"]), row["cfg_renorm_type"], row["cfg_renorm_min"]
    )
    return list(
        flow.integrate(denoiser, case["init_noise"], guidance, row["num_timesteps"], row["timestep_shift"], row["enable_taylorseer"])
    )


def _compare_steps(case: Case, steps: Sequence[Step]) -> None:
    first = steps[0]
    close(case, "t", torch.tensor([step.t for step in steps]))
    for place, name in enumerate(("cfg_text", "cfg_img")):
        close(case, f"{name}_active", torch.tensor([int(step.scales[place] > 1) for step in steps]))
    for name, branch in {"cond": MAIN, "cfg_text": NO_TEXT, "cfg_img": NO_IMAGE}.items():
        if branch in first.velocities:
            close(case, f"v_step0_{name}", first.velocities[branch])
    close(case, "v_step0", first.velocity)
    close(case, "x_after_step0", first.x)
    close(case, "final_latent", steps[-1].x)


def _compare_query(shared: Shared, case: Case, denoiser: Denoiser) -> None:
    """What the decoder is asked at step 0, and where its rows stand beside each branch's context."""
    marks, count = shared.checkpoint.words.marks, denoiser.tokens
    close(case, "vae_position_ids", denoiser.places)
    close(case, "query_text_ids", torch.tensor([marks.image_begin, marks.image_end]))
    for prefix, branch in BRANCHES.items():
        query = denoiser.query(branch)
        start = query.workspace.length
        close(case, f"{prefix}rope_position_ids", query.rope)
        close(case, f"{prefix}packed_indexes", torch.arange(start, start + count + 2))
    query = denoiser.query(MAIN)
    kinds = query.gather({"und": torch.zeros(2), "gen": torch.ones(count)})
    close(case, "vae_token_indexes", kinds.nonzero()[:, 0])
    close(case, "query_text_indexes", (kinds == 0).nonzero()[:, 0])
    time = flow.schedule(case.parameters["num_timesteps"], case.parameters["timestep_shift"])[0][0].item()
    close(case, "query_step0", query.gather(denoiser.rows(case["init_noise"], time)))
    out = denoiser.run(case["init_noise"], time, [MAIN])[MAIN]
    close(case, "hidden_step0", _ordered(shared, query, out))


def _ordered(shared: Shared, query: Query, rows: Rows) -> Tensor:
    """Rows after each expert's last norm, in the order of the sequence."""
    return query.gather(shared.bagel.language_model.normed(rows))


def _compare_pictures(shared: Shared, case: Case, segments: Sequence[Segment], context: Context) -> None:
    """How every picture is read, segment by segment."""
    config, number = shared.config, 0
    for segment in segments:
        if isinstance(segment, Said):
            context = shared.reader.say(context, segment)
            continue
        name, again = f"vae{number}_", config.vae_rule.apply
        pixels = to_pixels(again(again(segment.image.to_pil())))
        close(case, f"{name}pixels", pixels[None])
        latent = encode(shared.checkpoint.autoencoder, pixels, segment.noise)
        close(case, f"{name}latent", latent)
        grid = latent_grid(config, *pixels.shape[1:])
        close(case, f"{name}grid_position_ids", places(grid, config.latent_side))
        longer, rows = shared.reader.latents(context, segment.image, segment.noise)
        count = longer.length - context.length
        query = Query(shared.bagel.workspace(context, 0), torch.full((count,), context.rope), slice(0, 2), slice(0, count - 2))
        close(case, f"{name}rope_position_ids", query.rope)
        fed = {"und": shared.bagel.words([shared.checkpoint.words.marks.image_begin, shared.checkpoint.words.marks.image_end])}
        fed["gen"] = shared.bagel.latent_rows(fold(latent[0], config.latent_patch), 0.0, places(grid, config.latent_side))
        close(case, f"{name}prefill_input", query.gather(fed))
        close(case, f"{name}prefill_hidden", _ordered(shared, query, rows))
        _compare_cache(case, longer, name)
        _compare_tower(shared, case, f"vit{number}_", segment, longer)
        context, number = shared.reader.see(context, segment), number + 1


def _parameters(cases: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {row["name"]: {**row["params"], "tolerance": row["tolerance"]} for row in cases["cases"]}


SUITE = Suite(open=Shared, checks=CHECKS, parameters=_parameters)
