// A grid of thumbnails with keyboard control. Python owns what is shown and marked; the browser only moves the cursor, so that it
// follows a held key at once. All other requests go to Python as a message: {kind: "mark" | "delete" | "undo" | "page", by}.

const MOVES = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (columns) => -columns, ArrowDown: (columns) => columns };
const KEYS = { x: { kind: "mark" }, " ": { kind: "mark" }, Delete: { kind: "delete" }, u: { kind: "undo" },
               PageUp: { kind: "page", by: -1 }, PageDown: { kind: "page", by: 1 } };

let tiles = 0; // of all grids on the page

function render({ model, el }) {
  const grid = document.createElement("div");
  grid.className = "inpaintkit-grid";
  grid.tabIndex = 0;
  grid.setAttribute("role", "listbox");
  grid.setAttribute("aria-label", "records");
  grid.dataset.lmSuppressShortcuts = "true"; // in JupyterLab x cuts the cell
  el.append(grid);

  const paint = () => {
    const cursor = model.get("cursor"), marked = new Set(model.get("marked"));
    [...grid.children].forEach((tile, place) => {
      tile.classList.toggle("inpaintkit-cursor", place === cursor);
      tile.classList.toggle("inpaintkit-marked", marked.has(place));
      tile.setAttribute("aria-selected", place === cursor);
      tile.setAttribute("aria-label", marked.has(place) ? `${tile.title}, bad` : tile.title);
      if (place === cursor) grid.setAttribute("aria-activedescendant", tile.id); // what a screen reader says while the grid has the focus
    });
  };
  const draw = () => {
    grid.replaceChildren(...model.get("tiles").map(({ source, name }, place) => {
      const tile = document.createElement("div"), picture = document.createElement("img");
      tile.setAttribute("role", "option");
      tile.id = `inpaintkit-tile-${++tiles}`;
      tile.title = picture.alt = name;
      picture.src = source;
      tile.append(picture);
      tile.addEventListener("click", () => { grid.focus(); go(place); });
      tile.addEventListener("dblclick", () => model.send({ kind: "mark" }));
      return tile;
    }));
    paint();
  };
  const go = (place) => {
    model.set("cursor", place);
    model.save_changes();
    paint();
  };
  const step = (by) => {
    const place = model.get("cursor") + by, count = grid.children.length;
    if (place >= 0 && place < count) go(place);
    else if (Math.abs(by) === 1) model.send({ kind: "page", by });
  };
  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = MOVES[event.key], ask = KEYS[event.key];
    if (!move && !ask) return;
    event.preventDefault();
    event.stopPropagation();
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    if (move) step(move(columns));
    else model.send(ask);
  });
  model.on("change:tiles", draw);
  model.on("change:cursor", paint);
  model.on("change:marked", paint);
  draw();
}

export default { render };
