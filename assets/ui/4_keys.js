/* Keys of the whole page, and arrow keys within a group of radio buttons. */

function pageKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, summary, #editor, #scene, #handles, #break-layer, [role=radiogroup]")) return;
  const moves = { ArrowLeft: view.at - 1, ArrowRight: view.at + 1, Home: 0, End: view.path.length - 1 };
  if (event.key in moves) {
    goTo(moves[event.key]);
    if (event.target.closest("#timeline")) $("timeline").querySelector("[aria-current]")?.focus();
  } else if (event.key === " " && !event.target.closest("button")) (view.playing ? pause : play)();
  else if (event.key.toLowerCase() === "b" && !event.repeat) setMode("before");
  else return;
  event.preventDefault();
}

/** Arrow keys within a group of radio buttons. */
function radioKey(event) {
  const group = event.target.closest("[role=radiogroup]");
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!group || !step) return;
  const buttons = [...group.querySelectorAll("[role=radio]:not(:disabled)")];
  const next = buttons[(buttons.indexOf(event.target) + step + buttons.length) % buttons.length];
  if (!next) return;
  event.preventDefault();
  const place = [...group.children].indexOf(next);
  next.click();
  group.children[place]?.focus();
}
