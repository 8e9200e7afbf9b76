/* Tools below the timeline: the latents of a thought, and going on from a step with another thought or seed. */

function showInside(item) {
  const latents = item ? thoughtOf(item, view.at)?.latents ?? [] : [];
  $("inside-hint").textContent = t(!latents.length ? "inside.none" : view.latent !== null && !latents[view.latent]?.heat.length ? "inside.noheat" : "inside.hint");
  const had = $("latents").contains(document.activeElement);
  $("latents").replaceChildren(...latents.map((latent, index) => make("button", {
    type: "button", className: "latent", attrs: { role: "option", "aria-selected": String(index === view.latent) }, on: { click: () => pickLatent(index) },
  }, make("b", {}, latent.token), ...latent.words.slice(0, 3).map(([word, share]) => make("span", {},
    make("i", { style: { width: `${Math.round(share * 100)}%` } }), `${word} ${Math.round(share * 100)} %`)))));
  if (had && view.latent !== null) $("latents").children[view.latent]?.focus();
}

function pickLatent(index) {
  const thought = thoughtOf(view.path[view.at], view.at);
  const at = view.path.indexOf(thought);
  const again = view.latent === index && at === view.at;
  if (at >= 0 && at !== view.at) goTo(at);
  view.latent = again ? null : index;
  showEntry();
}

function showBranch(item) {
  const step = item && item.id !== null ? thoughtOf(item, view.at) ?? item : null;
  if (document.activeElement === $("branch-thought") && $("branch-thought").dataset.step === String(step?.id)) return;
  $("branch-thought").value = step?.thought ?? "";
  $("branch-thought").dataset.step = String(step?.id);
  $("branch-thought").disabled = !step || step.kind !== "think";
  $("branch-go").disabled = !step || !item.done || isRunning();
}
