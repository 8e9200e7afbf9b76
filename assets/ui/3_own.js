/* A run on the picture that the visitor brought: it lies below, what was drawn comes over it with everything else transparent. */

const onOwn = () => view.own && view.pictures.has("own");
const srcOf = (picture) => (onOwn() ? picture?.own ?? "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7" : picture?.src);

function setOwn(on) {
  view.own = on;
  showStage(view.path[view.at]);
}

function showOwn(item) {
  const own = item ? view.pictures.get("own") : null;
  $("own").hidden = !own;
  $("own").setAttribute("aria-checked", String(onOwn()));
  const shown = own && onOwn();
  $("own-word").hidden = !shown;
  $("frame").classList.toggle("own", Boolean(shown));
  $("plate").style.aspectRatio = shown ? `${own.width} / ${own.height}` : "";
  for (const id of ["picture", "picture-before"]) $(id).style.backgroundImage = shown ? `url(${own.src})` : "";
}

/** The overlay counts in cells of the board; on the visitor's picture the board is a part of it. */
function overlayBox(size) {
  if (!onOwn()) return `0 0 ${size} ${size}`;
  const { left, top, side, width, height } = view.pictures.get("own");
  return [-left, -top, width, height].map((length) => length * size / side).join(" ");
}
